"""A PostgreSQL server of one's own in a folder, and a relay before it whose connections break where one wants."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from tempfile import mkdtemp
from types import TracebackType
from typing import Any, Self

from sqlalchemy import create_engine, text

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))  # where Debian puts them
NOBODY = 65534  # initdb refuses to run as root
SOCKET = ".s.PGSQL.5432"  # in the folder that a URL calls its host


class Server:
    """A server of one's own in a folder, on a socket there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, BINARIES[-1].parent
        self.user = NOBODY if os.getuid() == 0 else None
        if self.user is not None:
            os.chown(folder, NOBODY, NOBODY)
        self.run("initdb", "-D", str(folder / "data"), "-U", "ravine", "-A", "trust", "-N")
        self.start()

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return url_in(self.folder)

    def run(self, name: str, *arguments: str) -> None:
        """One of PostgreSQL's programs."""
        command = [str(self.bin / name), *arguments]
        subprocess.run(command, user=self.user, group=self.user, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        own = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-o", own, "-l", str(self.folder / "log"), "-w", "start")

    def stop(self) -> None:
        """End it at once, as a crash does."""
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")


@contextmanager
def serving() -> Generator[Server]:
    """A server for as long as this lasts."""
    folder = Path(mkdtemp(prefix="ravine-pg-", dir="/tmp"))  # a socket's path is short
    made = Server(folder)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


def url_in(folder: Path) -> str:
    """The URL of the server, or the relay, whose socket lies in a folder."""
    return f"postgresql://ravine@/postgres?host={folder}"


def kill_others(url: str) -> int:
    """End every other connection to the database, whatever it is doing."""
    query = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return int(asked(url, query))


def asked(url: str, query: str) -> Any:
    """The one value that a query gives."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            return connection.execute(text(query)).scalar_one()
    finally:
        engine.dispose()


class Relay:
    """Passes on what a client and the server say; ``breaks(request)`` tells for each request whether to break there.

    Its answer is "": pass it on; "request": the connection breaks before the server hears it; "answer": after the
    server has done it, and before the client is told.
    """

    def __init__(self, folder: Path, server: Server, breaks: Callable[[bytes], str]) -> None:
        self.folder, self.breaks, self.broken = folder, breaks, 0
        self._behind = str(server.folder / SOCKET)
        folder.mkdir()
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(folder / SOCKET))
        self._door.listen(16)
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        """The URL by which a client comes this way."""
        return url_in(self.folder)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:  # it is closed
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        """Until one of the two ends it, or it breaks."""
        with client, socket.socket(socket.AF_UNIX) as server, DefaultSelector() as ready, suppress(OSError):
            server.connect(self._behind)
            ready.register(client, EVENT_READ, server)
            ready.register(server, EVENT_READ, client)
            breaking = ""
            while True:
                for key, _ in ready.select():
                    here: Any = key.fileobj
                    said = here.recv(65536)
                    if not said:
                        return
                    if here is client:
                        breaking = self.breaks(said)
                    if breaking and (here is server or breaking == "request"):
                        self.broken += 1
                        return
                    key.data.sendall(said)
