"""A torch optimizer for every rule of the catalogue, and for any rule that a user writes or composes."""

from __future__ import annotations

import functools
import inspect
from typing import Any, ClassVar

from torch.optim.optimizer import ParamsT

from ravine.errors import unknown
from ravine.optim import groups
from ravine.optim.base import RuleOptimizer
from ravine.optim.extras import Capturable
from ravine.optim.groups import Group
from ravine.rules.rule import Rule, catalogue, chain, filled, resolve, values

COMMON = {"weight_decay": 0.0, "maximize": False, "differentiable": False}
BETAS = ("beta1", "beta2")


class FromRule(RuleOptimizer):
    """The optimizer of a rule, alone or inside combinators; its hyperparameters are the groups' options.

    ``betas`` stands for a rule's beta1 and beta2, which may be given by their own names too.
    """

    def __init__(self, params: ParamsT, rule: Rule, **options: Any) -> None:
        own = values(rule)
        self.template = rule
        known = {*own, *COMMON, *Capturable.__annotations__} | ({"betas"} if own.keys() >= {*BETAS} else set())
        for name in options:
            if name not in known:
                raise unknown(f"option of {type(self).__name__}", name, known)
        extras = {name: value for name, value in options.items() if name in Capturable.__annotations__}
        given = {name: value for name, value in options.items() if name not in extras}
        super().__init__(params, self._paired({**self._paired({**COMMON, **own}), **given}), extras)

    def equation(self, group: Group, step: int) -> Rule:
        """The rule with the group's values."""
        dialect = group.get("dialect")
        if dialect:
            *_, inner = chain(self.template)
            return groups.made(groups.dialect_of(inner.family, dialect), group)
        betas = dict(zip(BETAS, group.get("betas", ()), strict=False))
        return filled(self.template, {name: groups.number(value) for name, value in {**group, **betas}.items()})

    def add_param_group(self, param_group: Group) -> None:
        """As every optimizer's; beta1 and beta2 may be given by name."""
        super().add_param_group(self._paired({**self.defaults, **param_group}))

    def _paired(self, options: dict[str, Any]) -> dict[str, Any]:
        """Options as torch's schedulers know them: beta1 and beta2 are one, ``betas``."""
        if not values(self.template).keys() >= {*BETAS} or not options.keys() & {*BETAS}:
            return options
        old = options.get("betas", BETAS)
        pair = tuple(options.get(name, before) for name, before in zip(BETAS, old, strict=True))
        return {**{name: value for name, value in options.items() if name not in BETAS}, "betas": pair}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "template": self.template}


class OfRule(FromRule):
    """The optimizer of one rule of the catalogue; `of` makes the subclass."""

    kind: ClassVar[type[Rule]]

    def __init__(self, params: ParamsT, **options: Any) -> None:
        super().__init__(params, self.kind(), **options)


@functools.cache
def of(rule: str | type[Rule]) -> type[OfRule]:
    """The optimizer class of a rule, by its name in the catalogue or itself.

    >>> of("momentum/heavy-ball").__name__
    'HeavyBall'
    """
    kind = resolve(rule) if isinstance(rule, str) else rule
    about = {"kind": kind, "__doc__": kind.__doc__, "__module__": "ravine.optim", "__signature__": _signature(kind)}
    return type(kind.__name__, (OfRule,), about)


def _signature(kind: type[Rule]) -> inspect.Signature:
    keyword = inspect.Parameter.KEYWORD_ONLY
    options = {**COMMON, **values(kind())}
    first = inspect.Parameter("params", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    own = [inspect.Parameter(name, keyword, default=default) for name, default in options.items()]
    extras = [inspect.Parameter(name, keyword, default=None) for name in Capturable.__annotations__]
    return inspect.Signature([first, *own, *extras])


def find(name: str) -> type[OfRule] | None:
    """The optimizer of the rule with that class name."""
    return next((of(kind) for kind in catalogue().values() if kind.__name__ == name), None)
