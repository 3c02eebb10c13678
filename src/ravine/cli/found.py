"""What a study prints and writes: itself in the terminal or as JSON, and its page where one was asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Protocol


class Found(Protocol):
    """What a study finds: a value that rich can print."""

    def facts(self) -> dict[str, Any]:
        """Plain values for JSON."""
        ...

    def report(self, path: str | Path) -> Path:
        """Write the page; its path."""
        ...


def check_page(out: Path | None) -> None:
    """Refuse a page that could not be written, before anything is measured for it."""
    from ravine.files import check_file

    if out is not None:
        check_file(out, ".html", in_folder=True)


def tell(found: Found, out: Path | None, json: bool) -> None:
    """Print what was found, and write its page; beside JSON the page is told of on the other channel."""
    if json:
        from json import dumps

        print(dumps(found.facts()))
    else:
        from rich.console import Console

        Console().print(found, highlight=False)
    if out is not None:
        print(f"Page: {found.report(out)}", file=sys.stderr if json else sys.stdout)
