"""Logs that need nothing: CSV and JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ravine.errors import UserError
from ravine.tracking.log import About

BEGIN = b'{"event": '  # how every line of JSON begins
FIRST = ("run", "step", "epoch", "train_loss", "valid_loss", "metric", "lr")


class Csv:
    """One row a point, one file for all runs; a file that is there is gone on with."""

    name = "csv"

    def __init__(self, path: Path, metrics: Sequence[str]) -> None:
        self.path, self.columns = path, [*FIRST, *metrics]
        if path.exists() and path.stat().st_size:
            with path.open(newline="", encoding="utf-8", errors="replace") as file:
                found = next(csv.reader(file), [])
            if found != self.columns:
                raise UserError(f"--log csv:{path}: the file there has other columns: name another file")
        self._file = None

    def begin(self, about: About) -> None:
        """Open the file with the first run."""
        if self._file is None:
            fresh = not (self.path.exists() and self.path.stat().st_size)
            self._file = self.path.open("a", newline="", encoding="utf-8")
            if fresh:
                csv.writer(self._file).writerow(self.columns)

    def points(self, run: str, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """A row each."""
        assert self._file is not None
        rows = ({"run": run, "step": step, **given} for step, given in points)
        csv.DictWriter(self._file, self.columns).writerows(rows)
        self._file.flush()

    def end(self, run: str, status: str) -> None:
        """Nothing is said of it."""

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class JsonLines:
    """One object a line: a run begins, its points, how it ended."""

    name = "jsonl"

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and path.stat().st_size:
            with path.open("rb") as file:
                if not file.read(len(BEGIN)) == BEGIN:
                    raise UserError(f"--log jsonl:{path}: the file there is no such log: name another file")
        self._file = None

    def _write(self, *rows: Mapping[str, object]) -> None:
        if self._file is None:
            self._file = self.path.open("a", encoding="utf-8")
        self._file.writelines(json.dumps(row) + "\n" for row in rows)
        self._file.flush()

    def begin(self, about: About) -> None:
        """Who it is."""
        self._write({"event": "begin", **vars(about)})

    def points(self, run: str, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """A line each."""
        self._write(*({"event": "point", "run": run, "step": step, **given} for step, given in points))

    def end(self, run: str, status: str) -> None:
        """How it ended."""
        self._write({"event": "end", "run": run, "status": status})

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
