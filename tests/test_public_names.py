"""The public names are the documented ones, and each tells what it is."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import ravine

README = Path(__file__).parents[1] / "README.md"


def documented() -> list[str]:
    """The names in the first column of the table in README's section on public names."""
    section = README.read_text().split("## Public names", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    return [name.removeprefix("ravine.") for row in rows for name in re.findall(r"`([\w.]+)`", row)]


def test_the_public_names_are_the_documented_ones() -> None:
    assert sorted(ravine.__all__) == sorted(documented())
    assert len(ravine.__all__) <= 30


@pytest.mark.parametrize("name", ravine.__all__)
def test_each_public_name_is_there_and_says_what_it_is(name: str) -> None:
    found: Any = getattr(ravine, name)
    if name == "__version__":
        assert re.fullmatch(r"\d+\.\d+\.\d+\S*", found)
    else:
        assert (found.__doc__ or "").strip()


def test_names_are_loaded_when_asked_for_and_no_others() -> None:
    assert set(ravine.__all__) <= set(dir(ravine))
    name = "rce"
    with pytest.raises(AttributeError, match="no attribute 'rce'"):
        getattr(ravine, name)


@pytest.mark.parametrize("name", ravine.__all__)
def test_no_module_takes_the_place_of_a_public_function(name: str) -> None:
    """Importing `ravine.x` sets the attribute x of the package, over whatever was there."""
    home = Path(ravine.__file__).parent
    if not inspect.ismodule(getattr(ravine, name)):
        assert not (home / name).is_dir() and not (home / f"{name}.py").is_file()
