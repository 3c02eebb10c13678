"""All that is declared of a rule, as plain values: what the command line lists and the docs are made from."""

from __future__ import annotations

import functools
import inspect
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import combinations
from typing import Any

import torch

from ravine import optim
from ravine.emit.latex import latex
from ravine.errors import UserError
from ravine.rules.rule import Combinator, Hyper, Rule, catalogue, hypers, name_of, needs_of, scalars_of, slots_of

SIDE = 256  # of the float32 matrix whose state is weighed
WITHOUT_FORM = {"maximize", "foreach", "fused", "capturable", "differentiable"}  # torch's options of no other equation
MOST_OPTIONS = 3  # of torch's that together choose one form


@dataclass(frozen=True)
class HyperEntry:
    """One hyperparameter: ``search`` is the scale and the ends of the range that a race searches."""

    name: str
    symbol: str
    default: float
    bounds: str
    unit: str
    meaning: str
    search: tuple[str, float, float] | None

    @classmethod
    def of(cls, h: Hyper) -> HyperEntry:
        """The declaration as plain values."""
        seek = None if h.search is None else (h.search.scale, h.search.low, h.search.high)
        return cls(h.name, h.symbol, h.default, h.bounds.text, h.unit, h.meaning, seek)

    @property
    def searched(self) -> str:
        """The range in words; empty where a race leaves the default."""
        return "" if self.search is None else f"{self.search[1]:g} .. {self.search[2]:g} ({self.search[0]})"


@dataclass(frozen=True)
class Entry:
    """One rule of the catalogue, as plain values."""

    name: str
    family: str
    dialect: str
    optimizer: str  # "ravine.optim.NAdam"
    torch: str | None  # the call of torch.optim with the same equation
    summary: str
    differs: str
    when: str
    equation: str
    latex: tuple[str, ...]
    slots: tuple[str, ...]
    scalars: tuple[str, ...]
    bytes_per_parameter: float  # of state, in float32
    scope: str
    needs: tuple[str, ...]
    raced_by_default: bool
    hyperparameters: tuple[HyperEntry, ...]
    notes: str
    companion: str  # what steps the tensors that it is not for
    reference: str
    module: str

    @property
    def headline(self) -> str:
        """The summary without the rule's own name before a colon, and without the full stop."""
        before, colon, after = self.summary.partition(": ")
        return (after if colon and len(before) < 30 else self.summary).rstrip(".")

    def words(self) -> str:
        """What a search looks through, in lower case."""
        parts = (self.name, self.optimizer, self.torch, self.summary, self.differs, self.when, self.notes)
        return " ".join(filter(None, (*parts, self.reference))).lower()


def entry(kind: type[Rule]) -> Entry:
    """Everything declared of a rule, and what follows from it: its LaTeX, the bytes of its state, torch's name."""
    rule, parts = kind(), read(kind)
    return Entry(
        name=name_of(kind),
        family=kind.family,
        dialect=kind.dialect,
        optimizer=f"ravine.optim.{kind.__name__}",
        torch=torch_calls().get(name_of(kind)),
        summary=parts["summary"],
        differs=kind.differs,
        when=kind.when,
        equation=parts["equation"],
        latex=tuple(latex(rule)),
        slots=slots_of(rule),
        scalars=tuple(scalars_of(rule)),
        bytes_per_parameter=state_bytes(rule),
        scope=kind.scope,
        needs=tuple(sorted(needs_of(rule))),
        raced_by_default=kind.contender,
        hyperparameters=tuple(HyperEntry.of(h) for h in hypers(kind).values()),
        notes=parts["notes"],
        companion=kind.companion,
        reference=parts["reference"],
        module=kind.__module__,
    )


def read(kind: type) -> dict[str, str]:
    """A docstring taken apart: its first sentence, the indented equation, state and notes, the reference."""
    lines = inspect.cleandoc(kind.__doc__ or "").splitlines()
    equation = [line.strip() for line in lines[1:] if line.startswith("    ")]
    rest = " ".join(line.strip() for line in lines[1:] if line and not line.startswith("    "))
    notes, _, reference = rest.partition("Reference:")
    return {
        "summary": lines[0] if lines else "",
        "equation": "\n".join(equation),
        "notes": notes.strip(),
        "reference": reference.strip(),
    }


def state_bytes(rule: Rule) -> float:
    """Bytes of state a parameter, weighed on a float32 matrix: what the factors of a matrix need is shared."""
    w = torch.zeros(SIDE, SIDE)
    return round(sum(slot.numel() * slot.element_size() for slot in rule.init(w).values()) / w.numel(), 2)


def families(names: Mapping[str, Any] | None = None) -> dict[str, list[str]]:
    """The names of the catalogue by family, the family's own form first."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in sorted(catalogue() if names is None else names):
        found[name.partition("/")[0]].append(name)
    return dict(found)


def search(text: str) -> list[Entry]:
    """The rules that have every word of the text in their name, description or reference.

    Raises:
        UserError: if there is none, with the nearest word that would find something.
    """
    wanted = text.lower().split()
    if not wanted:
        raise UserError("--search needs a word to look for, such as nesterov")
    every = [entry(kind) for kind in catalogue().values()]
    found = [one for one in every if all(word in one.words() for word in wanted)]
    if found:
        return found
    known = {word.strip("(),.;:'\"[]") for one in every for word in one.words().split()}
    wrong = next((word for word in wanted if not any(word in one.words() for one in every)), "")
    near = get_close_matches(wrong, sorted(known), n=1, cutoff=0.6) if wrong else []
    hint = f"did you mean '{near[0]}'?" if near else "`ravine rules` lists them all"
    raise UserError(f"no rule has '{text}' in its name, description or reference: {hint}")


@functools.cache
def torch_calls() -> dict[str, str]:
    """The call of torch.optim that each rule stands for, found by asking our classes of torch's names.

    >>> torch_calls()["nesterov"]
    'torch.optim.SGD(momentum=..., nesterov=True)'
    """
    found: dict[str, str] = {}
    shared = [name for name in optim.__all__ if inspect.isclass(getattr(torch.optim, name, None))]
    forms = [(chosen, name, rule) for name in shared for chosen, rule in _forms(name)]
    for chosen, name, rule in sorted(forms, key=lambda form: len(form[0])):
        options = ", ".join(f"{key}={'True' if value is True else '...'}" for key, value in chosen.items())
        found.setdefault(name_of(rule), f"torch.optim.{name}({options})" if chosen else f"torch.optim.{name}")
    for rule, kind in catalogue().items():
        if inspect.isclass(getattr(torch.optim, kind.__name__, None)):
            found.setdefault(rule, f"torch.optim.{kind.__name__}")
    return found


def _forms(name: str) -> Iterator[tuple[dict[str, Any], Rule]]:
    """The rules that one of torch's names stands for, with ever more of its options switched on."""
    own, parameters = getattr(optim, name), [torch.nn.Parameter(torch.zeros(1, 1))]
    known = inspect.signature(getattr(torch.optim, name)).parameters
    switches = {
        key: True if p.default is False else 0.9
        for key, p in known.items()
        if key not in WITHOUT_FORM and isinstance(p.default, int | float) and p.default == 0
    }
    for size in range(MOST_OPTIONS + 1):
        for keys in combinations(switches, size):
            chosen = {key: switches[key] for key in keys}
            try:
                rule = own(parameters, **chosen).rules()[0]
            except (UserError, TypeError):  # options that do not go together
                continue
            if not isinstance(rule, Combinator):
                yield chosen, rule
