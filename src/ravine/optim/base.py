"""A rule and parameters made into a torch.optim.Optimizer."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from ravine.engines import eager
from ravine.errors import UserError, unknown
from ravine.optim import captured, checkpoint, companions, curvature, groups, implementation, noise
from ravine.optim.captured import Captured
from ravine.optim.closure import Measured, evaluate, looking
from ravine.optim.extras import Capturable
from ravine.optim.finite import Policy, finite
from ravine.optim.groups import Group
from ravine.optim.hooks import hooked
from ravine.optim.implementation import engine_of
from ravine.optim.made import Made, Moving, Rules, time_of
from ravine.optim.plan import Plan
from ravine.optim.stepper import Item, Stepper
from ravine.rules.rule import Rule, name_of
from ravine.rules.sophia import curved
from ravine.types import State

# Torch keeps these out of torch.compile by a decorator that imports the compiler at the first call: seconds for nothing
ADD = inspect.unwrap(Optimizer.add_param_group)
ZERO = inspect.unwrap(Optimizer.zero_grad)


class RuleOptimizer(Optimizer, ABC):
    """A torch optimizer whose step is a rule's equation.

    Subclasses say which rule a parameter group asks for; everything else is here. The learning rate and every other
    option is read from the group at each step, so whatever writes there (torch's schedulers) acts at once.

    Raises:
        UserError: on any option out of bounds, or a parameter that cannot be optimized; nothing is changed then.
    """

    torch_names: ClassVar[Mapping[str, str]] = {}  # slot or scalar -> its name in torch.optim's checkpoints

    def __init__(self, params: ParamsT, defaults: Mapping[str, Any], extras: Mapping[str, Any]) -> None:
        owner = type(self).__name__
        for name in extras:
            if name not in Capturable.__annotations__:
                raise unknown(f"option of {owner}", name, {*defaults, *Capturable.__annotations__})
        self._stepper = Stepper(engine_of(owner, defaults, extras))
        self.nonfinite: Policy = implementation.policy_of(owner, defaults, extras)
        self.noise_seed: int = extras.get("noise_seed", 0)
        self._rules = Rules()
        self._plan: Plan | None = None
        ours = {name: value for name, value in extras.items() if name in (*groups.OURS, "capturable")}
        self._captured: Captured | None = None
        super().__init__(params, {**defaults, **ours})
        companions.tell(owner, self.rules(), self.param_groups)

    @abstractmethod
    def equation(self, group: Group, step: int) -> Rule:
        """The rule that the group asks for, without combinators."""

    def rule_of(self, group: Group, step: int = 1) -> Rule:
        """The whole rule of a group at a step of its parameters: checked, scheduled, inside its combinators."""
        owner = type(self).__name__
        schedules = group.get("schedules") or {}
        rule = groups.compose(self.equation(group, step), group)
        return groups.check_values(owner, groups.scheduled(rule, schedules, step))

    def depends_on_step(self, group: Group) -> bool:
        """Whether the group's rule is another at another step."""
        return bool(group.get("schedules"))

    def rules(self) -> list[Rule]:
        """The rule of each group as its options stand."""
        return [self._made(which).rule for which in range(len(self.param_groups))]

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters, with options of their own; checked whole before anything changes."""
        owner = type(self).__name__
        group = groups.opened(param_group, self.defaults)
        taken = [p for each in self.param_groups for p in each["params"]]
        groups.check_tensors(owner, group, len(self.param_groups), taken)
        groups.check_options(owner, group, self.defaults)
        implementation.check(owner, group, self.defaults)
        captured.check(owner, group, self.rule_of(group), self.depends_on_step(group))
        ADD(self, group)

    @hooked
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every parameter that has a gradient.

        Raises:
            NonFiniteGradient: with the policy "raise"; nothing is changed.
            UserError: if a group's option was set out of bounds, or a look-ahead rule got no closure.
        """
        if self.defaults.get("capturable"):
            self._captured = self._captured or Captured(self.nonfinite)
            return self._captured.step(self, closure)
        loss, measured = self._evaluate(closure)
        if self._plan is None or not self._plan.again(
            self.param_groups, self.state, self._made, self.nonfinite != "ignore"
        ):
            self._plan = None
            with torch.set_grad_enabled(bool(self.defaults.get("differentiable"))):
                self._plan = self._step_in_full(measured)
        return loss

    def _step_in_full(self, measured: Measured | None) -> Plan | None:
        """The step with everything found out anew; the plan of the next one, if that may be like it."""
        found = self._find(looked=measured is not None)
        swept = self._stepper.advance(self._items(found, measured or {}))
        return Plan.of(self.param_groups, self.state, [(each.which, each.made) for each in found], swept)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; with ``set_to_none=False`` they stay, as zeros."""
        ZERO(self, set_to_none)

    def _evaluate(self, closure: Callable[[], Any] | None) -> tuple[Any, Measured | None]:
        """The closure's loss, and the curvature where a rule wants that; nothing without a closure."""
        if closure is None:
            return None, None
        made = [self._made(which) for which in range(len(self.param_groups))]
        every = [p for group in self.param_groups for p in group["params"]]
        return evaluate(closure, looking(self.param_groups, made, self.state), every, self.noise_seed)

    def _find(self, looked: bool) -> list[Moving]:
        """The parameters that have a gradient."""
        found: list[Moving] = []
        number = -1
        for which, group in enumerate(self.param_groups):
            made = self._made(which)
            if made.ahead and not looked:
                wants = "measures curvature too" if curved(made.rule) else "takes its gradient ahead of the weights"
                raise UserError(
                    f"{name_of(made.rule)} {wants}: call step(closure) with a "
                    "function that zeroes the gradients, computes the loss, calls backward and returns the loss"
                )
            for index, p in enumerate(group["params"]):
                number += 1
                if p.grad is not None:
                    t = time_of(self.state.get(p), made.slots)
                    now = made if made.step is None else self._made(which, t)
                    found.append(Moving(which, index, number, p, now, t))
        return found

    def _items(self, found: Sequence[Moving], measured: Measured) -> list[Item]:
        """Every tensor's step; all that can fail has been checked before the first state is made."""
        gradients = self._gradients(found)
        sizes = None
        if self.nonfinite != "ignore" and not any(g.is_meta for g in gradients):
            checked = finite(gradients, self.nonfinite, lambda i: self._label(found[i]), self._stepper.norms)
            if checked is None:
                return []
            gradients, sizes = checked
        facts = eager.facts([each.made.rule for each in found], gradients, sizes)
        if not curvature.tell(facts, found, measured, self.nonfinite, self._label):
            return []
        noise.tell(facts, found, gradients, [group["params"] for group in self.param_groups], self.noise_seed)
        return [self._item(each, g, fact) for each, g, fact in zip(found, gradients, facts, strict=True)]

    def _item(self, each: Moving, g: Tensor, fact: State) -> Item:
        made, track = each.made, bool(self.param_groups[each.which].get("differentiable"))
        return Item(each.p, g, self._state(each), made.rule, each.t, fact, track, made.kept, each.number)

    def _gradients(self, found: Sequence[Moving]) -> Sequence[Tensor]:
        """The gradients of what is to fall, checked for what the rules can take."""
        gradients: list[Tensor] = []
        for each in found:
            g = cast(Tensor, each.p.grad)
            eager.check_whole(each.made.rule, each.p)
            if g.layout is not torch.strided:
                eager.check_sparse(each.made.rule)
            gradients.append(-g if self.param_groups[each.which].get("maximize") else g)
        if any(g.is_cuda for g in gradients) and torch.cuda.is_current_stream_capturing():
            raise UserError(
                f"{type(self).__name__}.step() keeps its time on the host, which a CUDA graph cannot capture: "
                "give capturable=True, or capture forward and backward only and call step() after each replay"
            )
        return gradients

    def _label(self, moving: Moving) -> str:
        group = self.param_groups[moving.which]
        return f"{type(self).__name__}: {groups.label(group, moving.index, moving.which)}"

    def _made(self, which: int, step: int | None = None) -> Made:
        """`rule_of`, anew only where an option has changed; that of any step where ``step`` is None."""
        return self._rules.of(self, which, step)

    def _state(self, moving: Moving) -> State:
        """The parameter's state, with what the rule has not kept yet at its start."""
        state, made = cast(State, self.state[moving.p]), moving.made
        if "step" not in state or any(slot not in state for slot in made.slots):
            state.update({"step": 0, **eager.init_state(made.rule, moving.p, made.kept), **state})
        return state

    def state_dict(self) -> dict[str, Any]:
        """A copy of everything that a later run needs, by torch's names where torch.optim has the same rule.

        Slots keep their own type; nothing in it is shared with this optimizer. Schedules are not in it: they are code.
        """
        for prepare in self._optimizer_state_dict_pre_hooks.values():
            prepare(self)
        packed = checkpoint.pack(self)
        for change in self._optimizer_state_dict_post_hooks.values():
            packed = change(self, packed) or packed
        return packed

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a checkpoint of this class or of torch.optim's of the same name.

        State goes to parameters by name where both sides have names, else by order with every shape checked.

        Raises:
            UserError: if names, shapes, rule or version differ; nothing is changed then.
        """
        given = dict(state_dict)
        for change in self._optimizer_load_state_dict_pre_hooks.values():
            given = change(self, given) or given
        loaded, state = checkpoint.unpack(self, given)
        self.__setstate__({"state": state, "param_groups": loaded})
        for tell in self._optimizer_load_state_dict_post_hooks.values():
            tell(self)

    def to_torch(self, entry: State) -> None:
        """Add to a parameter's saved state what torch.optim keeps in another form."""

    def from_torch(self, entry: State) -> None:
        """Add to a parameter's loaded state what torch.optim keeps in another form."""

    def __getstate__(self) -> dict[str, Any]:
        return {
            **super().__getstate__(),
            "nonfinite": self.nonfinite,
            "noise_seed": self.noise_seed,
            "engine": self._stepper.engine,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = {name: value for name, value in state.items() if name != "engine"}
        super().__setstate__(own)
        self._rules, self._plan, self._captured = Rules(), None, None
        if "engine" in state:
            self._stepper = Stepper(state["engine"])
