"""What a rule is: an equation, its hyperparameters as data, and the catalogue of all that exist."""

from __future__ import annotations

import importlib
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, ClassVar, Literal, TypeAlias, TypeGuard, TypeVar

from ravine.discovery import import_all, subclasses
from ravine.errors import UserError, unknown
from ravine.rules.interval import Interval, Search
from ravine.types import Array, Scalar, Scope, State, Values

Need: TypeAlias = Literal["norm", "global_norm", "gradient_ahead", "first_gradient", "noise", "curvature"]
ARRAYS: frozenset[Need] = frozenset({"first_gradient", "noise", "curvature"})  # of the gradient's shape, not one number
CLOSURE: frozenset[Need] = frozenset({"gradient_ahead", "curvature"})  # what a gradient at the weights cannot give


@dataclass(frozen=True)
class Hyper:
    """One hyperparameter as data: what the constructor, the CLI, the race and the docs know of it."""

    name: str
    default: float
    bounds: Interval
    meaning: str
    unit: str
    symbol: str  # LaTeX
    search: Search | None  # None: the race leaves it at its default

    def check(self, value: float, owner: str) -> None:
        """Raise one sentence if the value is not allowed; ``owner`` names the rule."""
        if math.isnan(value) or value not in self.bounds:
            given = f"{owner}({self.name}={value!r})"
            raise UserError(f"{given}: {self.name} must lie in {self.bounds.text}, got {value!r}")


def hyper(default: float, bounds: str, meaning: str, *, unit: str = "1", symbol: str, search: str | None = None) -> Any:
    """Declare a hyperparameter: default, allowed interval, meaning, unit, LaTeX symbol and search range."""
    seek = Search.parse(search) if search else None
    return field(default=default, metadata={"hyper": Hyper("", default, Interval(bounds), meaning, unit, symbol, seek)})


@dataclass(frozen=True)
class Declared:
    """What has a name and hyperparameters as data: a rule, or a method that needs more than a rule is told."""

    family: ClassVar[str] = ""
    dialect: ClassVar[str] = ""
    differs: ClassVar[str] = ""  # what sets this dialect apart, in one clause
    contender: ClassVar[bool] = True  # runs in a race unless the user chooses others


D = TypeVar("D", bound=Declared)


@dataclass(frozen=True)
class Rule(Declared, ABC):
    """An optimizer's equation: pure, out of place, the same for a tensor, K lanes or symbols.

    ``update`` sees the gradient g, the state s (slots, scalars and declared needs, by name), the weights w and the
    step t = 1, 2, ...; it returns the update u, which the engine adds to w, and the new slots and scalars.
    Subclasses are final. Two forms with one family are dialects; the one with an empty dialect is the family's own.
    """

    when: ClassVar[str] = ""  # of a family's own form: when to use it, in one honest sentence
    slots: ClassVar[tuple[str, ...]] = ()  # state with the shape of the weights and zero at first, unless `init` says
    exact: ClassVar[tuple[str, ...]] = ()  # slots of which every digit counts, so that none is kept in bfloat16
    scalars: ClassVar[Mapping[str, float]] = {}  # state of one number a run, and what it starts at
    needs: ClassVar[frozenset[Need]] = frozenset()  # facts beyond the gradient; the engine puts them into s
    sums: ClassVar[tuple[str, ...]] = ()  # sums over all of a run's tensors, of what `terms` gives; also put into s
    scope: ClassVar[Scope] = "entry"
    grows: ClassVar[bool] = False  # its rate grows without end on a slope without end
    magnifies: ClassVar[float] = 1.0  # how many times more than others it makes of what is rounded
    companion: ClassVar[str] = ""  # what steps the tensors that this rule is not for, in one clause

    @abstractmethod
    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        """The update u (same shape and units as w) and the new state."""

    def init(self, w: Array) -> State:
        """The slots before the first step, of whatever shapes the rule keeps for a parameter of that shape."""
        return {slot: w.new_zeros(w.shape) for slot in slots_of(self)}

    def terms(self, g: Array, s: State, w: Array, t: Scalar) -> State:
        """What is summed over all entries of all tensors before the update, by the names in ``sums``; each like w."""
        return {}

    def ahead(self, s: State, w: Array) -> Array:
        """Where the gradient is taken, for a rule that needs "gradient_ahead"."""
        return w

    def readout(self, s: State, w: Array) -> Array:
        """Where the model is evaluated, for a rule whose answer is not the point that it trains at."""
        return w


Change: TypeAlias = Literal["gradient", "point", "update", "weights", "nothing"]
AFTER: Mapping[Change, int] = {"update": 1, "weights": 2, "nothing": 3}  # the later it acts, the further outside


class Combinator(Rule):
    """A rule made of a rule: changes its gradient, the point where that is taken, its update, or the weights after it.

    One that changes nothing only watches.
    """

    changes: ClassVar[Change] = "gradient"
    rule: Rule

    def gradient(self, g: Array, s: State, w: Array, t: Scalar) -> Array:
        """The gradient that the rule inside sees."""
        return g

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        return self.rule.update(self.gradient(g, s, w, t), s, w, t)

    def terms(self, g: Array, s: State, w: Array, t: Scalar) -> State:
        """The terms of the rule inside, of the gradient that it sees."""
        return self.rule.terms(self.gradient(g, s, w, t), s, w, t)

    def init(self, w: Array) -> State:
        """The slots of the rule inside."""
        return self.rule.init(w)

    def ahead(self, s: State, w: Array) -> Array:
        """Where the rule inside wants the gradient."""
        return self.rule.ahead(s, w)

    def readout(self, s: State, w: Array) -> Array:
        """Where the rule inside is evaluated."""
        return self.rule.readout(s, w)


def chain(rule: Rule) -> Iterator[Rule]:
    """The rule and all rules inside it, from the outermost."""
    yield rule
    while isinstance(rule, Combinator):
        rule = rule.rule
        yield rule


def slots_of(rule: Rule) -> tuple[str, ...]:
    """Every slot that the rule and those inside it keep."""
    return tuple(slot for part in chain(rule) for slot in part.slots)


def scalars_of(rule: Rule) -> dict[str, float]:
    """Every scalar state and its start."""
    return {name: start for part in chain(rule) for name, start in part.scalars.items()}


def needs_of(rule: Rule) -> frozenset[Need]:
    """Every fact that the engine must supply."""
    return frozenset[Need]().union(*(part.needs for part in chain(rule)))


def reads_elsewhere(rule: Rule) -> bool:
    """Whether the model is evaluated elsewhere than at the weights."""
    *_, equation = chain(rule)
    return type(equation).readout is not Rule.readout


def sums_of(rule: Rule) -> tuple[str, ...]:
    """Every sum over all tensors that the engine must supply."""
    return tuple(name for part in chain(rule) for name in part.sums)


def _parts(rule: Declared) -> list[Declared]:
    return list(chain(rule)) if isinstance(rule, Rule) else [rule]


def hypers(rule: Declared | type[Declared]) -> dict[str, Hyper]:
    """The hyperparameters by name, the outermost rule's first."""
    parts = [type(part) for part in _parts(rule)] if isinstance(rule, Declared) else [rule]
    return {
        f.name: replace(f.metadata["hyper"], name=f.name)
        for part in parts
        for f in fields(part)
        if "hyper" in f.metadata
    }


def values(rule: Declared) -> dict[str, Any]:
    """The hyperparameters' values by name."""
    return {f.name: getattr(part, f.name) for part in _parts(rule) for f in fields(part) if "hyper" in f.metadata}


def with_values(rule: D, new: Mapping[str, Any]) -> D:
    """The same rule with other hyperparameters; names that it does not have are an error."""
    known = hypers(rule)
    for name in new:
        if name not in known:
            raise unknown(f"hyperparameter of {name_of(rule)}", name, known)
    return filled(rule, new)


def filled(rule: D, new: Mapping[str, Any]) -> D:
    """`with_values` for names that are known to fit: what an engine calls every step."""
    own = {f.name: new[f.name] for f in fields(rule) if "hyper" in f.metadata and f.name in new}
    if isinstance(rule, Combinator):
        return replace(rule, rule=filled(rule.rule, new), **own)
    return replace(rule, **own)


def check(rule: D) -> D:
    """Raise one sentence on the first value out of bounds or part out of place; the rule itself otherwise."""
    owners: dict[str, str] = {}  # of each hyperparameter, from the outermost part
    changer = ""  # a part outside that gives those inside another gradient than the one whose norm they are told
    later: Combinator | None = None  # a part outside that moves the weights after those inside have seen them
    for part in _parts(rule):
        owner = type(part).__name__
        if changer and isinstance(part, Rule) and part.needs & {"norm", "global_norm"}:
            why = f"would clip by the norm from before {changer}: put {owner} outside"
            raise UserError(f"{owner} inside {changer} {why}")
        if changer and isinstance(part, Rule) and "first_gradient" in part.needs:
            raise UserError(f"{owner} inside {changer} would climb by the gradient from before it: put {owner} outside")
        if isinstance(part, Combinator) and part.changes == "gradient":
            changer = owner
        elif isinstance(part, Combinator) and part.changes != "point":
            if later and AFTER[later.changes] < AFTER[part.changes]:
                why = f"would miss what {type(later).__name__} does to the weights: put {owner} outside"
                raise UserError(f"{owner} inside {type(later).__name__} {why}")
            later = part
        for name, declared in hypers(type(part)).items():
            declared.check(getattr(part, name), owner)
            if name in owners:
                raise UserError(f"{owners[name]} and {owner} both have {name}: combine the rule with one of them only")
            owners[name] = owner
    return rule


def name_of(rule: Declared | type[Declared]) -> str:
    """The name in the catalogue: "adam", "adam/eps-inside"; of a combinator, that of the rule inside."""
    if isinstance(rule, Declared):
        *_, rule = (type(part) for part in _parts(rule))
    return f"{rule.family}/{rule.dialect}" if rule.dialect else rule.family


def _is_final(found: type[Rule]) -> TypeGuard[type[Rule]]:
    return not inspect.isabstract(found) and not issubclass(found, Combinator) and bool(found.family)


def every_rule() -> Iterator[type[Rule]]:
    """Every class of rule there is: those in this folder, and any that a user's module has defined."""
    import_all("ravine.rules")
    return subclasses(Rule)


def catalogue() -> dict[str, type[Rule]]:
    """Every rule that exists, by name."""
    return dict(_named(tuple(every_rule())))


@lru_cache(maxsize=1)
def _named(found: tuple[type[Rule], ...]) -> dict[str, type[Rule]]:
    """The final ones by name; made anew where a class has come or gone."""
    return dict(sorted((name_of(rule), rule) for rule in found if _is_final(rule)))


def resolve(name: str) -> type[Rule]:
    """The rule of that name: "nadam", "adam/eps-inside", torch's "NAdam", or "package.module:Class"."""
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError, TypeError) as error:
            raise UserError(f"rule {name}: {error}; give package.module:Class of a subclass of ravine.Rule") from error
        if not (isinstance(found, type) and issubclass(found, Rule) and _is_final(found)):
            raise UserError(f"rule {name}: not a final subclass of ravine.Rule with a family name")
        return found
    known = catalogue()
    if name.lower() not in known:
        raise unknown("rule", name, known)
    return known[name.lower()]


def make(name: str, given: Values) -> Rule:
    """The checked rule of that name with those hyperparameters; the rest at their defaults."""
    return check(with_values(resolve(name)(), given))
