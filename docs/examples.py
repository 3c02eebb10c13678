"""Shows the examples in docstrings as code: without this, Markdown takes their prompts for quotations."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"(?:^>>> .*\n?)(?:^(?=\S).*\n?)*", re.MULTILINE)


class Examples(griffe.Extension):
    """Puts a fence around each example of each docstring."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(lambda found: f"```pycon\n{found[0].strip()}\n```\n", obj.docstring.value)
