"""An exception in the user's own code: one sentence, then the traceback shortened to their lines."""

from __future__ import annotations

import site
import sysconfig
import traceback
from pathlib import Path

from ravine.errors import UserError

OWN = Path(__file__).resolve().parents[1]  # the package itself
OTHERS = tuple(
    Path(folder).resolve()
    for folder in {
        *site.getsitepackages(),
        site.getusersitepackages(),
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib"),
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
    }
)


def blame(error: BaseException, what: str) -> UserError:
    """The error that says what raised, why, and where in the user's files."""
    if isinstance(error, UserError):
        return error
    reason = str(error).strip().split("\n", 1)[0]
    sentence = f"{what} raised {type(error).__name__}{f': {reason}' if reason else ''}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
    if isinstance(error, SyntaxError) and error.filename and is_users(error.filename):
        frames.append(traceback.FrameSummary(error.filename, error.lineno, "<module>", line=(error.text or "").strip()))
    return UserError("\n".join([sentence, *(line.rstrip() for line in traceback.format_list(frames))]))


def is_users(filename: str) -> bool:
    """Whether a file is neither Python's, nor installed, nor part of this package."""
    path = Path(filename)
    if filename.startswith("<") or not path.is_file():
        return False
    path = path.resolve()
    return not any(path.is_relative_to(folder) for folder in (OWN, *OTHERS))
