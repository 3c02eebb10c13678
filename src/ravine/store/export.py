"""Curves as a table in a file: one row a point, with its run's rule and hyperparameters beside it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ravine.errors import UserError

ENDINGS = (".csv", ".parquet")
TEXTS = ("record", "run", "rule", "schedule", "stage", "status", "reason")
WHOLES = ("config", "seed", "rung")
CURVE = ("epoch", "train_loss", "valid_loss", "metric")


def check_target(path: Path) -> None:
    """Refuse an ending that cannot be written, before anything is read."""
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"export to {path}: the file must end in {' or '.join(ENDINGS)}")
    if path.is_dir():
        raise UserError(f"export to {path}: this is a folder; give the name of a file")


def metrics(document: Mapping[str, Any]) -> dict[tuple[str, float], dict[str, float | None]]:
    """Further metrics by run and epoch, of a race or a run as it is kept."""
    runs = document["runs"] if "runs" in document else [document["result"]]
    return {(run["id"], point["epoch"]): point.get("metrics", {}) for run in runs for point in run["curve"]}


def write(rows: Sequence[Mapping[str, Any]], hypers: Sequence[str], metrics: Sequence[str], path: Path) -> None:
    """Write the rows to a CSV or Parquet file, whole or not at all."""
    import polars as pl  # here, because `ravine --help` should not wait for it

    kinds = {name: pl.String for name in TEXTS} | {name: pl.Int64 for name in WHOLES}
    kinds |= {column(name): pl.Float64 for name in hypers} | {name: pl.Float64 for name in CURVE}
    kinds |= {column(name): pl.Float64 for name in metrics}
    table = pl.DataFrame(rows, schema=kinds, orient="row")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        try:
            table.write_csv(name) if path.suffix.lower() == ".csv" else table.write_parquet(name)
            os.chmod(name, 0o644)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"export to {path}: {(error.strerror or str(error)).lower()}; choose another file") from error


def column(hyper: str) -> str:
    """The name of a hyperparameter's column: its own, unless the table has one of that name."""
    return f"hyper_{hyper}" if hyper in TEXTS + WHOLES + CURVE else hyper
