"""Images on disk as raw inputs, decoded by a few processes of their own.

Threads would decode while holding the lock that the training step needs for every operation; a process needs nothing
of it. They are not forked, which a program with threads must not do, but begun anew, so user code needs no
``if __name__ == "__main__"``.
"""

from __future__ import annotations

import io
import json
import queue
import subprocess
import sys
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import IO, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ravine.errors import UserError
from ravine.problems import decode
from ravine.problems.reading import readers

FEW = 8  # images that are decoded at once, here, rather than by a process that must be begun for them
MANY = 512  # files that are worth a process, where each is read once
PIECE = 128  # files that a worker is asked for at a time when all are checked
Worker: TypeAlias = "subprocess.Popen[bytes]"
Bad: TypeAlias = tuple[int, str]  # the place of a file among those asked for, and what is wrong with it


class Pictures:
    """Files of one size and mode."""

    def __init__(self, files: Sequence[Path], mode: str, size: tuple[int, int]) -> None:
        self.files, self.mode, self.size = [str(file) for file in files], mode, size
        self.shape = (len(files), 1 if mode == "L" else 3, size[1], size[0])
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        self.workers: list[Worker] = []
        self._lock = Lock()
        weakref.finalize(self, _end, self.workers)

    def read(self, ids: Tensor) -> Tensor:
        """Pixels, uint8 [n, c, h, w]; a `UserError` names the first file that cannot be decoded."""
        found = self._pixels([self.files[i] for i in ids.tolist()])
        if isinstance(found, tuple):
            raise UserError(found[1])
        return torch.from_numpy(found)

    def all(self) -> NDArray[np.uint8]:
        """The pixels of all files."""
        out = np.empty(self.shape, dtype=np.uint8)

        def put(places: range) -> None:
            out[places.start : places.stop] = self.read(torch.arange(places.start, places.stop)).numpy()

        with ThreadPoolExecutor(readers()) as pool:
            list(pool.map(put, self._pieces()))
        return out

    def damaged(self) -> dict[int, str]:
        """Which files cannot be decoded, and why: each is decoded once, by all workers."""
        with ThreadPoolExecutor(readers()) as pool:
            return {
                place: text for found in pool.map(self._damaged_of, self._pieces()) for place, text in found.items()
            }

    def _pieces(self) -> list[range]:
        piece = PIECE if len(self.files) > MANY else FEW
        return [range(begin, min(begin + piece, len(self.files))) for begin in range(0, len(self.files), piece)]

    def _damaged_of(self, places: range) -> dict[int, str]:
        found: dict[int, str] = {}
        while places:
            result = self._pixels([self.files[place] for place in places])
            if not isinstance(result, tuple):
                break
            found[places[result[0]]] = result[1]
            places = places[result[0] + 1 :]
        return found

    def _pixels(self, files: Sequence[str]) -> NDArray[np.uint8] | Bad:
        if len(files) <= FEW:
            return self._here(files)
        worker = self._worker()
        try:
            found = self._ask(worker, files)
        except (OSError, EOFError, ValueError) as error:
            raise UserError("a process that decodes images was ended from outside: go on with --resume") from error
        self._idle.put(worker)
        return found

    def _here(self, files: Sequence[str]) -> NDArray[np.uint8] | Bad:
        out = np.empty((len(files), *self.shape[1:]), dtype=np.uint8)
        for place, file in enumerate(files):
            try:
                out[place] = decode.pixels(file, self.mode, self.size)
            except decode.BadImage as error:
                return place, str(error)
        return out

    def _worker(self) -> Worker:
        """One that has nothing to do; begun where there are few yet, waited for where there are enough."""
        with self._lock:
            if self._idle.empty() and len(self.workers) < readers():
                command = [sys.executable, "-P", str(Path(decode.__file__))]
                self.workers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
                return self.workers[-1]
        return self._idle.get()

    def _ask(self, worker: Worker, files: Sequence[str]) -> NDArray[np.uint8] | Bad:
        """The pixels, or the first file that has none."""
        assert worker.stdin is not None and worker.stdout is not None
        order = {"files": files, "mode": self.mode, "size": self.size}
        worker.stdin.write(json.dumps(order).encode() + b"\n")
        worker.stdin.flush()
        kind = worker.stdout.read(1)
        if kind == b"\0":
            out = np.empty((len(files), *self.shape[1:]), dtype=np.uint8)
            _fill(worker.stdout, out.reshape(-1).data)
            return out
        length = int.from_bytes(worker.stdout.read(8), "little")
        place, text = json.loads(worker.stdout.read(length))
        return place, text


def _fill(pipe: IO[bytes], memory: memoryview) -> None:
    assert isinstance(pipe, io.BufferedReader)
    while len(memory):
        count = pipe.readinto(memory)
        if not count:
            raise EOFError
        memory = memory[count:]


def _end(workers: list[Worker]) -> None:
    """Close what they read from, upon which they end by themselves."""
    for worker in workers:
        if worker.stdin is not None and worker.stdout is not None:
            worker.stdin.close()
            worker.stdout.close()
        worker.wait()
    workers.clear()
