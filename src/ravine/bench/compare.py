"""The whole catalogue on six small problems, at its defaults and tuned with equal budgets, over fresh seeds.

Every finished (problem, rule) is kept in a JSON file and not run again, so Ctrl-C loses one of them at most and the
same command goes on. The page is made from that file alone.

    python -m ravine.bench.compare [--problems digits,mnist] [--rules adam,sgd,lbfgs] [--dialects] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from ravine.training.interrupt import Request

Data: TypeAlias = dict[str, Any]  # the JSON file: protocol, problems, cells by problem and rule, sessions

JSON, PAGE = Path("docs/data/compare.json"), Path("docs/comparison.md")
FORMAT = 1
QUICK = {"trials": 2, "seeds": 2, "length": 0.2}


def compare(
    path: Path,
    problems: Sequence[str],
    rules: Sequence[str],
    protocol: Mapping[str, Any],
    say: Callable[[str], None],
    stop: Request | None = None,
) -> Data:
    """Run every cell that the file lacks and keep it there; what is known, also where Ctrl-C ended it.

    ``stop`` is a `Request`; without one, Ctrl-C asks.

    Raises:
        UserError: on a name that does not exist, a file made by another protocol, or data that are not here.
    """
    from ravine.bench.cell import Arena, Protocol
    from ravine.bench.contest import contest
    from ravine.errors import UserError
    from ravine.files import check_folder
    from ravine.training.interrupt import stop_on_request
    from ravine.validation import validated

    wanted = validated(Protocol, protocol, "budget")
    contests, rules = [contest(name) for name in problems], checked(rules)
    data = opened(path, wanted.model_dump())
    check_folder(path.parent)
    left = [(c, [rule for rule in rules if rule not in data["cells"].get(c.name, {})]) for c in contests]
    total, done, begin = sum(len(own) for _, own in left), 0, time.monotonic()
    with stop_on_request() as request:
        for one, own in left:
            if not own:
                continue
            arena = Arena(one, wanted)
            agree(path, data["problems"].setdefault(one.name, arena.facts), arena.facts, one.name)
            for rule in own:
                try:
                    cell = arena.cell(rule, stop or request)
                except UserError as error:
                    cell = {"refused": str(error)}
                except KeyboardInterrupt:
                    say(f"stopped; the same command goes on with {one.name} {rule}")
                    return data
                done += 1
                keep(path, data, one.name, rule, cell)
                say(f"{done}/{total} {time.monotonic() - begin:.0f} s  {one.name} {rule}: {told(cell)}")
    return data


def checked(rules: Sequence[str]) -> list[str]:
    """The names in lower case, each of a rule or of a method that can race."""
    from ravine.solvers.spec import contender_from_spec

    for name in rules:
        contender_from_spec({"name": name})
    return list(dict.fromkeys(name.lower() for name in rules))


def discovered(dialects: bool) -> list[str]:
    """Every rule of the catalogue; without ``dialects`` each family's own form alone."""
    from ravine.rules.rule import catalogue

    return [name for name, rule in catalogue().items() if dialects or not rule.dialect]


def opened(path: Path, protocol: Data) -> Data:
    """The file's content, or the beginning of one; a `UserError` where it was made by another protocol."""
    from ravine.errors import UserError

    if not path.exists():
        return {"format": FORMAT, "protocol": protocol, "problems": {}, "cells": {}, "sessions": []}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = data["protocol"] if data["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"{path}: not a file of this comparison ({type(error).__name__}); give another --json"
        raise UserError(why) from error
    if found is None:
        raise UserError(f"{path}: made by another version of this comparison; give another --json")
    agree(path, found, protocol, "the comparison")
    return data


def agree(path: Path, found: Data, wanted: Data, what: str) -> None:
    """A `UserError` that names the first thing in which the file's cells are not made like those to come."""
    from ravine.errors import UserError

    for name, value in wanted.items():
        if found.get(name) != value:
            raise UserError(
                f"{path} holds {what} with {name} {found.get(name)}, asked is {value}: give the same, or another --json"
            )


def keep(path: Path, data: Data, problem: str, rule: str, cell: Data) -> None:
    """Put a finished cell into the file, and count it in the session of this process."""
    from ravine.files import write_whole
    from ravine.racing.outcome import versions

    data["cells"].setdefault(problem, {})[rule] = cell
    if not data["sessions"] or data["sessions"][-1]["began"] != START:
        data["sessions"].append({"began": START, **versions(), "cores": os.cpu_count(), "cells": 0})
    session = data["sessions"][-1]
    session["cells"] += 1
    session["seconds"] = round(time.monotonic() - BEGIN)
    session["load"] = round(os.getloadavg()[0], 1)
    write_whole(path, (json.dumps(data, indent=1) + "\n").encode())


START, BEGIN = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()


def told(cell: Data) -> str:
    """A cell in a few words, for the line of progress."""
    if "refused" in cell:
        return cell["refused"]
    sides = (f"{side} {mean(cell[side]['losses'])}" for side in ("tuned", "default"))
    return f"test loss {', '.join(sides)}; {cell['seconds']} s"


def mean(losses: Sequence[float | None]) -> str:
    """The mean in four digits, unless a seed diverged."""
    known = [loss for loss in losses if loss is not None]
    return f"{sum(known) / len(known):.4g}" if len(known) == len(losses) else "diverged"


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line; what ``--quick`` sets gives way to what is said beside it."""
    parser = argparse.ArgumentParser(prog="python -m ravine.bench.compare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--problems", help="names with commas; the six of the page if none is given")
    parser.add_argument("--rules", help="names with commas, methods too; every family's own form if none is given")
    parser.add_argument("--dialects", action="store_true", help="every dialect of the catalogue")
    parser.add_argument("--quick", action="store_true", help=f"a first look: {QUICK}; needs a --json of its own")
    parser.add_argument("--trials", type=int, help="configurations drawn for each rule; default: 8")
    parser.add_argument("--seeds", type=int, help="fresh seeds; default: 3")
    parser.add_argument("--seed", type=int, help="of the draw and the tuning runs; default: 0")
    parser.add_argument("--length", type=float, help="times the epochs of every problem; default: 1")
    parser.add_argument("--schedule", help="of the learning rate, the same for all; default: cosine")
    parser.add_argument("--json", type=Path, default=JSON, help=f"the cells; default: {JSON}")
    parser.add_argument("--page", type=Path, help=f"default: {PAGE}, beside another --json that name with .md")
    found = parser.parse_args(given)
    for name, value in QUICK.items():
        if found.quick and getattr(found, name) is None:
            setattr(found, name, value)
    return found


def main(given: Sequence[str] | None = None) -> int:
    """Run what is missing, write the page; 2 where what was given does not fit."""
    found = arguments(given)
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")  # read when torch starts its threads; see ravine.cli
    from ravine.bench.compare_page import page
    from ravine.bench.contest import CONTESTS
    from ravine.errors import UserError
    from ravine.files import write_whole

    budget = {n: v for n in ("trials", "seeds", "seed", "length", "schedule") if (v := getattr(found, n)) is not None}
    where = found.page or (PAGE if found.json == JSON else found.json.with_suffix(".md"))
    try:
        rules = found.rules.split(",") if found.rules else discovered(found.dialects)
        problems = found.problems.split(",") if found.problems else list(CONTESTS)
        data = compare(found.json, problems, rules, budget, lambda text: print(text, file=sys.stderr, flush=True))
        write_whole(where, page(data).encode())
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{sum(map(len, data['cells'].values()))} cells in {found.json}, the page is {where}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
