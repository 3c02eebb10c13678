"""Printed kernels as machine code: compiled by Numba once, kept on disk as object code, loaded without Numba."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import llvmlite.binding as llvm
from platformdirs import user_cache_dir

from ravine.errors import UserError

Kernel: TypeAlias = Callable[[int, int, int, int, int], None]  # table, coefficients, first, last, seed

_ALIGNMENT = 64
_lock = threading.RLock()  # LLVM's compiler and Numba's are not for two threads at once
_engines: list[Any] = []  # machine code lives as long as its engine, and what its calls point to
_loaded: dict[str, Kernel] = {}


def folder() -> Path:
    """Where compiled kernels are kept; safe to delete."""
    return Path(user_cache_dir("ravine")) / "kernels"


def kernel(source: str, *, reassociate: bool = False) -> Kernel:
    """The compiled function of a printed kernel: from this process, from the disk, or from the compiler.

    ``reassociate`` lets a sum be taken in another order, which vectorises it; never for a rule's own arithmetic.
    The function runs without the interpreter's lock.
    """
    key = _key(f"{source}\n{reassociate}")
    with _lock:
        if key not in _loaded:
            code = _read(key)
            if code is None:
                code = _compile(source, reassociate)
                _write(key, code, source)
            _loaded[key] = _link(code)
        return _loaded[key]


@cache
def _machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True, reloc="pic")


@cache
def _surroundings() -> str:
    """Everything beside the source that the machine code depends on."""
    spec = find_spec("ravine.emit.lowlevel")
    lowlevel = Path(spec.origin).read_text("utf-8") if spec and spec.origin else ""
    processor = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()} {llvm.get_default_triple()}"
    return "\n".join([version("numba"), version("llvmlite"), processor, lowlevel])


def _key(source: str) -> str:
    return hashlib.sha256(f"{_surroundings()}\n{source}".encode()).hexdigest()


def _compile(source: str, reassociate: bool) -> bytes:
    from numba import njit, types  # half a second, needed only for a kernel that the disk does not have

    from ravine.emit.lowlevel import NAMES

    namespace = dict(NAMES)
    exec(compile(source, "<ravine kernel>", "exec"), namespace)
    flags = {"contract", "reassoc"} if reassociate else {"contract"}
    options: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}
    signature = types.void(*[types.int64] * 5)
    compiled: Any = njit(signature, error_model="numpy", fastmath=flags, **options)(namespace["kernel"])
    module = llvm.parse_assembly(compiled.inspect_llvm(compiled.signatures[0]))
    (function,) = [f for f in module.functions if not f.is_declaration]
    function.name = "ravine_kernel"
    if re.search(r"^\s+(callq?|blr?|jalr?)\s", _machine().emit_assembly(module), re.MULTILINE):
        raise UserError("this rule's kernel calls a library on this processor: use engine='eager'")
    return _machine().emit_object(module)


def _link(code: bytes) -> Kernel:
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 5)(
        engine.get_function_address("ravine_kernel")
    )
    result, error = ctypes.c_void_p(), ctypes.c_void_p()  # Numba's own calling convention; neither is ever set
    _engines.append((engine, result, error))
    return partial(function, ctypes.addressof(result), ctypes.addressof(error))


def _read(key: str) -> bytes | None:
    """The object code on disk if it is whole."""
    try:
        data = (folder() / f"{key[:32]}.o").read_bytes()
    except OSError:
        return None
    digest, code = data[:32], data[32:]
    return code if hashlib.sha256(key.encode() + code).digest() == digest else None


def _write(key: str, code: bytes, source: str) -> None:
    """Keep the code, with its source beside it for people; a reader never sees half a file."""
    try:
        folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        digest = hashlib.sha256(key.encode() + code).digest()
        for suffix, data in ((".py", source.encode()), (".o", digest + code)):
            handle, name = tempfile.mkstemp(dir=folder())
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(name, folder() / (key[:32] + suffix))
    except OSError as error:
        _warn_once(f"kernels are compiled anew in each process: {folder()} cannot be written ({error.strerror})")


@cache
def _warn_once(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=4)
