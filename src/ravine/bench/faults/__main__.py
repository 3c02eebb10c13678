"""The fault campaign as one command, with its table: it can be stopped and goes on where it was.

    python -m ravine.bench.faults [PART ...] [--count N] [--minutes M] [--keep faults.jsonl] [--json FILE]

Parts: kills, calls, damage, disk, full, power, outage, lanes, server, workers, ranks, store, soak; all where none is
named. Every trial is a line of the file ``--keep``; one that is there already is not repeated. The exit code is 1
where anything came out wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ravine.bench.faults import calls, damage, disk, kills, lanes, outage, power, ranks, server, soak, store, workers
from ravine.bench.faults.trial import Part, Trial

FIXED = (
    kills.PART, calls.PART, damage.PART, disk.PART, disk.FULL, power.PART, outage.PART, lanes.PART, server.PART,
    workers.PART, ranks.PART,
)  # fmt: skip


def known(keep: Path) -> dict[str, list[Trial]]:
    """The trials that are kept, by part; a last line that is torn is left out."""
    found: dict[str, list[Trial]] = {}
    for line in keep.read_text().splitlines() if keep.exists() else []:
        try:
            row: dict[str, Any] = json.loads(line)
            found.setdefault(row.pop("part"), []).append(Trial(**row))
        except (ValueError, TypeError, KeyError):
            continue
    return found


def campaign(parts: Sequence[Part], done: Mapping[str, Sequence[Trial]], place: Path) -> Iterator[tuple[Part, Trial]]:
    """Every trial that is not done yet, part by part."""
    for part in parts:
        made = {trial.index for trial in done.get(part.name, ())}
        if part.count == 0:  # the part knows how many there are, and makes all of them or none
            yield from ((part, trial) for trial in ([] if made else part.trials([], place / part.name)))
            continue
        left = [index for index in range(part.count) if index not in made]
        if left:
            yield from ((part, trial) for trial in part.trials(left, place / part.name))


def table(parts: Sequence[Part], found: Mapping[str, Sequence[Trial]]) -> str:
    """The campaign as a table of Markdown."""
    rows = ["| fault | tried | came out wrong | what must hold |", "|---|---|---|---|"]
    for part in parts:
        trials = found.get(part.name, ())
        wrong = sum(bool(trial.wrong) for trial in trials)
        told = (f"**{wrong}**" if wrong else "0") if trials else "not run"
        tried = f"{len(trials)}{_counts(part, trials)}"
        rows.append(f"| {part.fault}: {part.about} | {tried} | {told} | {part.promise} |")
    return "\n".join(rows)


def _counts(part: Part, trials: Sequence[Trial]) -> str:
    """What was counted in a part's trials: sums, or the largest where the part says so."""
    names = dict.fromkeys(name for trial in trials for name in trial.counts)
    shown: list[str] = []
    for name in names:
        values = [trial.counts[name] for trial in trials if name in trial.counts]
        value = max(values) if name in part.most else sum(values)
        shown.append(f"{'at most ' if name in part.most else ''}{value:,.{0 if value == int(value) else 2}f} {name}")
    return f" ({', '.join(shown)})" if shown else ""


def main() -> None:
    """Run what is left of the campaign and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*(part.name for part in FIXED), "store", "soak"]
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(names))
    parser.add_argument("--count", type=int, help="trials of each part; default: the part's own")
    parser.add_argument("--minutes", type=float, help="of a trial of the store (default 2) and of the soak (30)")
    parser.add_argument("--keep", type=Path, default=Path("faults.jsonl"), help="default: faults.jsonl")
    parser.add_argument("--json", type=Path, help="a file to write the summary to")
    given = parser.parse_args()
    if unknown := [name for name in given.parts if name not in names]:
        parser.error(f"no part is called {unknown[0]}: choose among {', '.join(names)}")
    os.environ.update(RAVINE_FAULTS_WARM="1", OMP_NUM_THREADS="1")  # read by the process that sessions are forks of
    timed = (store.part(given.minutes or 2.0), soak.part(given.minutes or 30.0))
    chosen = [part for part in (*FIXED, *timed) if not given.parts or part.name in given.parts]
    if given.count is not None:
        chosen = [part if part.count == 0 else replace(part, count=given.count) for part in chosen]
    found = known(given.keep)
    try:
        with tempfile.TemporaryDirectory(prefix="ravine-faults-") as place, given.keep.open("a") as file:
            begin = time.monotonic()
            for part, trial in campaign(chosen, found, Path(place)):
                file.write(json.dumps({"part": part.name, **asdict(trial)}) + "\n")
                file.flush()
                found.setdefault(part.name, []).append(trial)
                _show(part, len(found[part.name]), trial, time.monotonic() - begin)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
    print(table(chosen, found))
    wrong = [trial for part in chosen for trial in found.get(part.name, ()) if trial.wrong]
    if given.json is not None:
        summary = {part.name: [asdict(trial) for trial in found.get(part.name, ())] for part in chosen}
        given.json.write_text(json.dumps(summary, indent=1) + "\n")
    sys.exit(1 if wrong else 0)


def _show(part: Part, made: int, trial: Trial, seconds: float) -> None:
    of = f" of {part.count}" if part.count else ""
    if trial.wrong:
        print(f"\n{part.name} {trial.index} WRONG: {trial.wrong}", file=sys.stderr, flush=True)
    print(f"\r{part.name} {made}{of}  {seconds:.0f} s ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
