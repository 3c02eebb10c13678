"""Ray as the launcher: a process on each of a cluster's cores takes part in a shared race."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import URL

from ravine.errors import UserError
from ravine.store import Store

LOCAL = "local"


def check_cluster(address: str, store: URL) -> None:
    """Raise one sentence where Ray is not there, or its workers could not reach the store."""
    _ray()
    if address != LOCAL and store.get_backend_name() == "sqlite":
        raise UserError(
            f"--ray {address}: other machines reach no SQLite file: give --store postgresql://..., or --ray local"
        )


@contextmanager
def working(address: str, store: Store, name: str, heartbeat: float) -> Generator[None]:
    """Within, every core of the cluster but one works on the race; a worker that dies is not missed.

    Raises:
        UserError: at the end, what a worker could not do, such as importing the user's module.
    """
    ray = _ray()
    # no listening for others, no usage statistics: nothing outside is asked for
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    given: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {"address": address}
    try:
        ray.init(**given, log_to_driver=False, configure_logging=False)
    except ConnectionError as error:
        raise UserError(f"--ray {address}: no Ray cluster answers ({_first(error)}); is it running?") from error
    try:
        cores = int(ray.cluster_resources().get("CPU", 1))
        work = ray.remote(num_cpus=1, max_retries=0, max_calls=1)(_work)
        url = store.url.render_as_string(hide_password=False)
        path = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        begun = [work.remote(url, name, heartbeat, path) for _ in range(max(1, cores - 1))]
        yield
        _, late = ray.wait(begun, num_returns=len(begun), timeout=2 * heartbeat)
        told = [_told(ray, one) for one in begun if one not in late]
        if wrong := [text for text in told if text]:
            raise UserError(wrong[0])
    finally:
        ray.shutdown()


def _work(url: str, name: str, heartbeat: float, path: list[str]) -> str:
    """What a worker does; returns a sentence on what a user did wrong, if anything."""
    import sys

    sys.path[:0] = path
    from ravine.sharing.share import part
    from ravine.store.leases import Leases

    with TemporaryDirectory() as folder, Store.open(url) as store:
        leases = Leases(store, heartbeat)
        try:
            part(
                leases, name, Path(folder), lambda race, lease: _lead(store, leases, race, lease), print, lambda: False
            )
        except UserError as error:
            return str(error)
    return ""


def _lead(store: Store, leases: Any, race: Any, lease: Any) -> None:
    """Lead the race where the driver is gone: what is known is kept in the store, for `ravine show`."""
    from ravine.racing.outcome import result_of

    for _ in race.run():
        pass
    store.save_race(result_of(race), leases.guard(lease))


def _told(ray: Any, one: Any) -> str:
    try:
        return ray.get(one)
    except ray.exceptions.RayError:  # it died; what it held was taken over
        return ""


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no answer"])[0].rstrip(".")


def _ray() -> Any:
    try:
        return import_module("ray")
    except ImportError as error:
        raise UserError("--ray needs Ray, which is not installed: run pip install 'ravine[cluster]'") from error
