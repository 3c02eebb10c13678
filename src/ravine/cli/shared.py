"""`ravine race --shared`, `--join` and `--ray`: races that several processes run together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ravine.errors import UserError

if TYPE_CHECKING:
    from ravine.racing.race import Race
    from ravine.store import Store
    from ravine.store.leases import Lease
    from ravine.store.store import Guard

Run = Callable[["Race", "Store", bool, "Guard"], None]  # shows a race, keeps it as it goes and writes its report


def check(shared: bool, join: str | None, ray: str | None, source: str | None, resume: bool, store: str | None) -> None:
    """Raise one sentence where these options contradict each other, or the store cannot serve, before it is made."""
    from ravine.store.connect import parse

    if join is not None and (shared or ray is not None or source is not None):
        raise UserError(f"--join {join} names a race that was begun: give no problem, --shared or --ray beside it")
    if resume and (shared or join is not None or ray is not None):
        raise UserError("--resume goes on in one process; a shared race goes on with --join and its name")
    if join is None and ray is None:
        return
    url = parse(store)
    if ray is not None:
        from ravine.sharing.cluster import check_cluster

        check_cluster(ray, url)
    elif url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise UserError(f"--join {join}: no shared race of that name is in the store; begin one with --shared")


def begin(race: Race, store: Store, json: bool, heartbeat: float, ray: str | None, run: Run) -> None:
    """Put a new race into the store and take part in it, alone until others join or on a Ray cluster."""
    from ravine.sharing.cluster import working
    from ravine.sharing.share import publish
    from ravine.store.leases import Leases

    name = publish(Leases(store, heartbeat), race)
    folder = race.folder
    assert folder is not None
    where = store.url.render_as_string(hide_password=True)
    if ray is None:
        print(f"Others join with: ravine race --join {name} --store {where}", file=sys.stderr)
        join(name, store, folder.parent, json, heartbeat, run)
        return
    with working(ray, store, name, heartbeat):
        join(name, store, folder.parent, json, heartbeat, run)


def join(name: str, store: Store, out: Path, json: bool, heartbeat: float, run: Run) -> None:
    """Take part in a race until it is done."""
    from ravine.sharing.share import part
    from ravine.store.leases import Leases
    from ravine.training.interrupt import stop_on_request

    leases = Leases(store, heartbeat)
    with stop_on_request() as request:
        led = part(leases, name, out, _leading(leases, json, run), _tell, lambda: request.made)
    if request.made:
        print(f"Interrupted; others go on. Come back with: ravine race --join {name}", file=sys.stderr)
        raise typer.Exit(130)
    if not led:
        _finished(name, store, out, json)


def _finished(name: str, store: Store, out: Path, json: bool) -> None:
    """Say what became of a race that another process led to its end."""
    if json:
        print(store.race(name).model_dump_json())
        return
    page, where = out / name / "report.html", store.url.render_as_string(hide_password=True)
    found = f"its report is {page}" if page.is_file() else f"see it with: ravine report {name} --store {where}"
    print(f"{name} is finished; {found}")


def _leading(leases: object, json: bool, run: Run) -> Callable[[Race, Lease], None]:
    from ravine.store.leases import Leases

    assert isinstance(leases, Leases)
    return lambda race, lease: run(race, leases.store, json, leases.guard(lease))


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
