"""Methods as torch optimizers: step(closure) moves parameters by the iteration that `minimize` runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from ravine.errors import UserError, unknown
from ravine.rules.rule import check, hypers
from ravine.solvers.method import Memory, Method, Stalled, catalogue, resolve
from ravine.solvers.objective import Evaluated, Objective, Point, check_finite
from ravine.solvers.tree import flatten, one_kind, split

Closure: TypeAlias = Callable[[], Any]
STOPS: Mapping[str, Any] = {"max_iter": 1, "max_eval": None, "tolerance_grad": 0.0, "tolerance_change": 0.0}
KIND = "method"  # the group's entry that names the method


class SolverOptimizer(Optimizer):
    """A torch optimizer that sees all parameters as one vector and evaluates the closure as often as it needs.

    The closure returns the loss (for least squares the residuals, for the natural gradient one loss a sample). It may
    zero the gradients and call backward, as torch's does, unless the method needs more than a gradient. It must give
    the same loss at every call within a step: the same batch, the same dropout mask. A step does up to ``max_iter``
    iterations, and ends early where the largest entry of the gradient is at most ``tolerance_grad``, where the loss or
    no weight changes by more than ``tolerance_change``, or after ``max_eval`` evaluations.

    Raises:
        UserError: on options out of bounds, a missing closure, or a function that the method refuses; weights and
            state are then as they were.
    """

    family: ClassVar[str] = ""

    def __init__(self, params: ParamsT, *, dialect: str = "", **options: Any) -> None:
        name = f"{self.family}/{dialect}" if dialect else self.family
        forms = {each for each, kind in catalogue().items() if kind.family == self.family}
        if name not in forms:
            raise unknown(f"dialect of {type(self).__name__}", dialect, {n.partition("/")[2] for n in forms} - {""})
        known = {h.name: h.default for h in hypers(resolve(name)).values()}
        for option in options:
            if option not in {**STOPS, **known}:
                raise unknown(f"option of {type(self).__name__}", option, {**STOPS, **known})
        self._start(params, {**STOPS, **known, **options, KIND: name})

    def _start(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)
        self.method()
        one_kind(self._params, type(self).__name__)

    @property
    def _params(self) -> list[Tensor]:
        return [p for p in self.param_groups[0]["params"] if p.requires_grad]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take the one group that there may be."""
        if self.param_groups:
            raise UserError(f"{type(self).__name__} sees all parameters as one vector: give them in one group")
        super().add_param_group(param_group)

    def method(self) -> Method:
        """The method as the group's options stand, checked."""
        group = self.param_groups[0]
        for name, least in (("max_iter", 1), ("tolerance_grad", 0), ("tolerance_change", 0)):
            if not group[name] >= least:
                given = f"{type(self).__name__}({name}={group[name]!r})"
                raise UserError(f"{given}: {name} must be at least {least}, got {group[name]!r}")
        kind: Any = resolve(group[KIND])
        made: Method = check(kind(**{name: float(group[name]) for name in hypers(kind)}))
        return made

    @property
    def memory(self) -> Memory:
        """What the method carries from step to step."""
        return self.state[self._params[0]].get("memory", {})

    def step(self, closure: Closure | None = None) -> Any:
        """Move the parameters; returns what the closure gave before.

        Raises:
            UserError: without a closure, where the start is not finite, or where the closure's loss does not follow its
                gradient; nothing is changed then.
        """
        if closure is None:
            raise UserError(
                f"{type(self).__name__} evaluates the loss more than once: call step(closure) with a function that "
                "computes the loss and returns it"
            )
        method, params = self.method(), self._params
        calls = _Calls(closure, params)
        objective = Objective(calls.evaluate, method.reduction, volatile=True)
        start = flatten(params)
        try:
            at = objective.point(start)
            check_finite(type(self).__name__, at)
            first = calls.output
            at, memory, count = self._iterate(method, objective, at)
        except BaseException:
            calls.write(start)
            raise
        calls.write(at.x)
        before = self.state[params[0]]
        evaluations = before.get("func_evals", 0) + objective.counts.evaluations
        before.update({"memory": memory, "n_iter": before.get("n_iter", 0) + count, "func_evals": evaluations})
        return first

    def _iterate(self, method: Method, objective: Objective, at: Point) -> tuple[Point, Memory, int]:
        """Up to ``max_iter`` iterations: where they lead, what is remembered, how many there were."""
        group, memory, count = self.param_groups[0], self.memory, 0
        most = group["max_eval"]
        while count < group["max_iter"]:
            if float(at.gradient.abs().max()) <= group["tolerance_grad"]:
                break
            try:
                new, memory = method.iterate(objective, at, memory)
            except Stalled as stalled:
                if stalled.slope:
                    raise UserError(
                        f"{type(self).__name__}: {stalled.reason}, though its slope is {stalled.slope:.3g}: does the "
                        "closure give the same loss at every call (no dropout, one batch), and its own gradient?"
                    ) from None
                break
            count += 1
            before, at = at, new
            if count == group["max_iter"] or (most is not None and objective.counts.evaluations >= most):
                break
            change = group["tolerance_change"]
            if float((at.x - before.x).abs().max()) <= change or abs(at.value - before.value) < change:
                break
        if not bool(torch.isfinite(at.x).all()):
            raise UserError(f"{type(self).__name__}: the step is not finite: nothing was changed")
        return at, memory, count

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a checkpoint of the same method and as many parameters.

        Raises:
            UserError: if it is of another method or size; nothing is changed then.
        """
        owner, groups = type(self).__name__, state_dict.get("param_groups")
        if not isinstance(groups, list) or len(groups) != 1:
            raise UserError(f"{owner}: not this optimizer's state: give what state_dict() returned")
        found, own = groups[0].get(KIND), self.param_groups[0][KIND]
        if found != own:
            raise UserError(f"{owner}: the checkpoint is of {found}, this is {own}: make the same one")
        size = sum(p.numel() for p in self._params)
        for entry in state_dict.get("state", {}).values():
            for name, value in entry.get("memory", {}).items():
                if isinstance(value, Tensor) and value.shape[-1] != size:
                    raise UserError(f"{owner}: {name} in the checkpoint is of {value.shape[-1]} weights, not {size}")
        super().load_state_dict(state_dict)


class _Calls:
    """The closure as a function of the flat vector, through the parameters."""

    def __init__(self, closure: Closure, params: list[Tensor]) -> None:
        self.closure, self.params = closure, params
        self.output: Any = None
        self._written: Tensor | None = None

    @torch.no_grad()
    def write(self, x: Tensor) -> None:
        """Put the vector into the parameters."""
        if self._written is not x:
            for p, part in zip(self.params, split(x, self.params), strict=True):
                p.copy_(part)
            self._written = x

    def evaluate(self, x: Tensor, graph: bool) -> Evaluated:
        """One call of the closure at x; whether it ran backward is seen by the gradients that it leaves."""
        self.write(x)
        for p in self.params:
            p.grad = None
        with torch.enable_grad():
            output = self.closure()
        self.output = output if self.output is None else self.output
        gradients = [p.grad for p in self.params]
        if all(g is None for g in gradients):
            if not isinstance(output, Tensor):
                given = type(output).__name__
                raise UserError(f"the closure must return the loss as a tensor, or call backward(), got {given}")
            return Evaluated(output, self.params)
        flat = [torch.zeros_like(p) if g is None else g for p, g in zip(self.params, gradients, strict=True)]
        value = output.detach() if isinstance(output, Tensor) else torch.tensor(float(output), dtype=torch.float64)
        return Evaluated(value, self.params, flatten(flat))
