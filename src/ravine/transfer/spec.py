"""A transfer as a recipe has it, and the factory that carries it out for every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ravine.engines.tiers import Paced, Tier
from ravine.errors import UserError, unknown
from ravine.files import digest_of
from ravine.randomness import Seeded
from ravine.transfer.fit import KEEP, Loaded, fit
from ravine.transfer.freezing import freeze
from ravine.transfer.pacing import tiers_of
from ravine.transfer.weights import read_weights

KEYS = ("from", "sha256", "head", "prefix", "map", "freeze", "layer_rates", "unfreeze")


@dataclass(frozen=True)
class Transfer:
    """Where a run begins and at which pace its layers train.

    ``source`` is the file of weights (None: a draw of the seed, as ever); ``sha256`` what it must hash to; ``head``,
    ``prefix`` and ``names`` as in `load_into`; ``frozen`` patterns as in `freeze`; ``rates`` the ratio of the rates of
    a layer and the one above; ``every`` the epochs between two layers that begin to train.
    """

    source: str | None = None
    sha256: str = ""
    head: str = KEEP
    prefix: str = ""
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    frozen: tuple[str, ...] = ()
    rates: float | None = None
    every: float | None = None

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Transfer:
        """The checked transfer of {"from": "best.safetensors", "head": "new", "freeze": "layers.0.*", ...}."""
        for name in spec:
            if name not in KEYS:
                raise unknown("setting of transfer", name, KEYS)
        words = {name: spec[name] for name in ("from", "sha256", "head", "prefix") if name in spec}
        for name, word in words.items():
            if not isinstance(word, str) or not word:
                raise UserError(f"transfer: {name} is a word in quotes, got {word!r}")
        names = spec.get("map", {})
        if not isinstance(names, Mapping) or not all(isinstance(w, str) for pair in names.items() for w in pair):
            raise UserError(f'transfer: map is a table of beginnings, such as {{"encoder." = "body."}}, got {names!r}')
        made = cls(
            words.get("from"), words.get("sha256", ""), words.get("head", KEEP), words.get("prefix", ""), names,
            _patterns(spec.get("freeze", [])), _rates(spec.get("layer_rates")), _every(spec.get("unfreeze")),
        )  # fmt: skip
        if made.source is None and (loading := [n for n in ("sha256", "head", "prefix", "map") if n in spec]):
            raise UserError(f"transfer: {loading[0]} is for weights of a file, and from names none: give from")
        if made == cls():
            raise UserError(f"transfer: an empty table does nothing: give {', '.join(KEYS[:1] + KEYS[5:])}")
        return made


def pinned(spec: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The table with the hash of its file, so that other weights under that name are noticed."""
    if spec is None or "from" not in spec or "sha256" in spec:
        return None if spec is None else dict(spec)
    return {**spec, "sha256": digest_of(Path(spec["from"]).expanduser())}


def _patterns(given: Any) -> tuple[str, ...]:
    found = [given] if isinstance(given, str) else given
    if not isinstance(found, list | tuple) or not all(isinstance(each, str) and each for each in found):
        raise UserError(
            f'transfer: freeze is a pattern of names or a list of them, such as "layers.0.*", got {given!r}'
        )
    return tuple(found)


def _rates(given: Any) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1:
        raise UserError(
            f"transfer: layer_rates is the ratio of a layer's rate to the one above, in (0, 1), got {given!r}"
        )
    return float(given)


def _every(given: Any) -> float | None:
    if given is None:
        return None
    every = given.get("every") if isinstance(given, Mapping) and set(given) == {"every"} else None
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise UserError(f"transfer: unfreeze is {{every = 2}}, a whole number of epochs, got {given!r}")
    return float(every)


class Transferred(Paced):
    """A model's factory whose weights come from a file, the new head from the seed; frozen and paced as asked."""

    def __init__(self, factory: Callable[[], nn.Module], transfer: Transfer) -> None:
        self.factory, self.transfer = factory, transfer

    def __call__(self, seed: int = 0) -> nn.Module:
        """The model of that seed."""
        return self._make(seed)[0]

    def loaded(self) -> Loaded | None:
        """What came from the file; None where there is none. Checks the file, and what is frozen, on the way."""
        return self._make(0)[1]

    def tiers(self, module: nn.Module) -> tuple[Tier, ...]:
        """The layers by their pace, from the top."""
        return tiers_of(module, self.transfer.rates, self.transfer.every)

    @cached_property
    def _weights(self) -> dict[str, Tensor]:
        wanted = self.transfer
        assert wanted.source is not None
        path = Path(wanted.source).expanduser()
        found = read_weights(path)
        if wanted.sha256 and digest_of(path) != wanted.sha256:
            raise UserError(f"{path}: not the weights that the recipe was made with (its SHA-256 differs)")
        return found

    def _make(self, seed: int) -> tuple[nn.Module, Loaded | None]:
        wanted = self.transfer
        module = self.factory(seed) if isinstance(self.factory, Seeded) else self.factory()
        loaded = None
        if wanted.source is not None:
            loaded = fit(module, self._weights, wanted.source, wanted.head, wanted.prefix, wanted.names)
        if wanted.frozen:
            freeze(module, wanted.frozen)
        return module, loaded


def loaded_by(factory: object) -> Loaded | None:
    """What a factory, or one that this is made of, takes from a file; None where there is none."""
    while factory is not None and not isinstance(factory, Transferred):
        factory = getattr(factory, "factory", None)
    return None if factory is None else factory.loaded()
