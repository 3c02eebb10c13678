"""What a method is: one iteration on an objective, its hyperparameters as data, and the catalogue of all that exist."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from ravine.discovery import import_all, subclasses
from ravine.errors import unknown
from ravine.rules.rule import Declared, check, hypers, name_of, with_values
from ravine.solvers.objective import Objective, Point, Reduction

Memory: TypeAlias = dict[str, Any]  # what a method carries from iteration to iteration: tensors and numbers by name
Need: TypeAlias = Literal["gradient", "curvature", "vector", "layers"]

NEEDS: Mapping[Need, str] = {
    "gradient": "values and gradients where it asks",
    "curvature": "Hessian-vector products",
    "vector": "residuals, or one loss a sample",
    "layers": "each layer's inputs and output gradients",
}


class Stalled(Exception):
    """An iteration found no better point. ``slope`` is that of the search, 0 where rounding hides every decrease."""

    def __init__(self, reason: str, slope: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.slope = reason, slope


@dataclass(frozen=True)
class Described(Declared):
    """A method as data: what it needs, its memory in words ("2 history x w"), its equation in LaTeX."""

    needs: ClassVar[Need] = "gradient"
    memory: ClassVar[str] = ""
    scheduled: ClassVar[bool] = False  # its learning rate follows a schedule, as a rule's does
    latex: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True)
class Method(Described, ABC):
    """A method on a flat vector: pure, so that the same iteration serves functions, parameters and races."""

    reduction: ClassVar[Reduction] = "itself"
    dense: ClassVar[bool] = False  # it keeps a square matrix of the weights

    @abstractmethod
    def iterate(self, objective: Objective, at: Point, memory: Memory) -> tuple[Point, Memory]:
        """One iteration from a point whose value and gradient are known.

        Returns the next point and the new memory; what was given is not changed. The first memory is empty.

        Raises:
            Stalled: where no better point is found.
            UserError: where the objective is not one that the method can work on.
        """


def every_method() -> Iterator[type[Described]]:
    """Every class of method there is: those in the folder, and any that a user's module has defined."""
    import_all("ravine.solvers.methods")
    return subclasses(Described)


def catalogue() -> dict[str, type[Described]]:
    """Every method that exists, by name."""
    final = [kind for kind in every_method() if kind.family and not inspect.isabstract(kind)]
    return {name_of(kind): kind for kind in sorted(final, key=lambda kind: (kind.family, kind.dialect))}


def resolve(name: str) -> type[Described]:
    """The method of that name; a `UserError` with the nearest one for a name that does not exist."""
    known = catalogue()
    if name.lower() not in known:
        raise unknown("method", name, known)
    return known[name.lower()]


def make(name: str, given: Mapping[str, float]) -> Method:
    """The checked method of that name with those hyperparameters; the rest at their defaults."""
    kind = resolve(name)
    if not issubclass(kind, Method):
        raise unknown("method on a function", name, [n for n, k in catalogue().items() if issubclass(k, Method)])
    return check(with_values(kind(), given))


def facts(kind: type[Described]) -> dict[str, Any]:
    """Everything declared of a method, as plain values for the command line and the docs."""
    lines = inspect.cleandoc(kind.__doc__ or "").splitlines()
    rest = " ".join(line.strip() for line in lines[1:] if line and not line.startswith("    "))
    notes, _, reference = rest.partition("Reference:")
    return {
        "name": name_of(kind),
        "family": kind.family,
        "dialect": kind.dialect,
        "summary": lines[0] if lines else "",
        "differs": kind.differs,
        "equation": "\n".join(line.strip() for line in lines[1:] if line.startswith("    ")),
        "latex": list(kind.latex),
        "needs": NEEDS[kind.needs],
        "memory": kind.memory,
        "notes": notes.strip(),
        "reference": reference.strip(),
        "hyperparameters": [
            {"name": h.name, "default": h.default, "bounds": h.bounds.text, "unit": h.unit, "meaning": h.meaning}
            for h in hypers(kind).values()
        ],
    }
