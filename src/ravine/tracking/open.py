"""Logs as they are asked for on the command line: "tensorboard:DIR", "mlflow:URI", "csv:FILE", "jsonl:FILE"."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from ravine.errors import UserError, unknown
from ravine.files import check_folder
from ravine.tracking.files import Csv, JsonLines
from ravine.tracking.log import Log, Logger
from ravine.tracking.mlflow import LOCAL, MLflow
from ravine.tracking.tensorboard import TensorBoard

KINDS = ("tensorboard", "mlflow", "csv", "jsonl")


def open_log(texts: Sequence[str], folder: Path, metrics: Sequence[str]) -> Log:
    """The logs of a run that lives in ``folder`` and measures these metrics; a `UserError` before anything starts."""
    return Log([_logger(text, folder, metrics) for text in texts])


def _logger(text: str, folder: Path, metrics: Sequence[str]) -> Logger:
    kind, _, place = text.partition(":")
    if kind not in KINDS:
        raise unknown("log", kind, KINDS)
    if kind in ("csv", "jsonl"):
        path = Path(place)
        if not place or path.is_dir():
            raise UserError(f"--log {text}: name a file, as in {kind}:run.{kind}")
        if not path.parent.is_dir():
            raise UserError(f"--log {text}: there is no folder {path.parent}")
        return Csv(path, metrics) if kind == "csv" else JsonLines(path)
    try:
        if kind == "tensorboard":
            check_folder(Path(place or folder))
            return TensorBoard(Path(place) if place else folder / "tensorboard")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of MLflow's own libraries
            return MLflow(place or os.environ.get("MLFLOW_TRACKING_URI", LOCAL))
    except ImportError as error:
        raise UserError(f"--log {kind}: {error.name or kind} is not installed: pip install 'ravine[{kind}]'") from error
    except UserError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(f"--log {text}: MLflow cannot use this address: {said}") from error
