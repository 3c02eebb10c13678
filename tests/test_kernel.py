"""The kernel engine: each rule's own numbers, wherever the tensors lie, whoever calls, from any cache."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ravine.bench.lastplace import exactly, ulps
from ravine.emit.trace import trace
from ravine.engines import native
from ravine.engines.kernel import KernelStep, serves
from ravine.engines.maxnorm import limit_rows
from ravine.engines.threads import share
from ravine.errors import UserError
from ravine.rules import combine
from ravine.rules.adam import Adam
from ravine.rules.descent import SGD, Momentum
from ravine.rules.nadam import NAdam
from ravine.rules.rule import (
    Rule,
    catalogue,
    hypers,
    name_of,
    scalars_of,
    slots_of,
    sums_of,
    values,
    with_values,
)
from ravine.rules.spec import combinators

COMBINATORS: list[Any] = list(combinators().values())


def clash(outer: Any, rule: Rule) -> bool:
    """Whether a combinator names a hyperparameter as the rule inside does: two numbers cannot share a name."""
    return bool(set(hypers(outer)) & set(hypers(rule)))


RULES: list[Rule] = [rule() for rule in catalogue().values() if serves(rule())]
PAIRS: list[Rule] = [outer(rule) for outer in COMBINATORS for rule in RULES[::19] if not clash(outer, rule)]
EVERY_RULE = [*RULES, *filter(serves, PAIRS)]
SHAPES = [(3,), (0,), (9_000,), (), (5, 7), (1, 129), (4, 3, 2, 2)]


def label(rule: Rule) -> str:
    return f"{type(rule).__name__}-{name_of(rule)}"


class Run:
    """Tensors of a rule and its kernel; ``step`` is what an optimizer does."""

    def __init__(self, rule: Rule, weights: list[Tensor], seed: int = 0) -> None:
        self.rule = rule
        self.weights = [w.clone() for w in weights]
        starts = [rule.init(w) for w in self.weights]
        self.slots = {k: [s[k].clone() for s in starts] for k in slots_of(rule)}
        self.scalars: dict[str, Any] = scalars_of(rule)
        self.sums = {name: 1.5 + i for i, name in enumerate(sums_of(rule))}  # which whoever calls a kernel must know
        self.kernel = KernelStep(rule)
        self.generator = torch.Generator().manual_seed(seed)
        self.t = 0

    def gradients(self) -> list[Tensor]:
        return [torch.randn(w.shape, dtype=torch.float64, generator=self.generator).to(w.dtype) for w in self.weights]

    def step(self, gradients: list[Tensor], **facts: Any) -> None:
        self.t += 1
        given = {**values(self.rule), **self.scalars, **self.sums, **facts, "t": self.t}
        self.scalars = self.kernel.step(self.weights, gradients, self.slots, given) or {}


def randoms(shapes: list[Any], dtype: torch.dtype = torch.float32, seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype) for shape in shapes]


@pytest.mark.parametrize("rule", EVERY_RULE, ids=label)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_step_is_the_rules_own_within_4_ulp(rule: Rule, dtype: torch.dtype) -> None:
    run, program = Run(rule, randoms(SHAPES, dtype)), trace(rule)
    for t in range(1, 5):
        gradients = run.gradients()
        inputs: dict[str, Any] = {**values(rule), **run.scalars, **run.sums, "t": t, "first_norm": 1.0}
        inputs["global_norm"] = torch.cat([g.double().ravel() for g in gradients]).norm().item()
        states = [
            {**inputs, "w": w.clone(), "g": g, "first_gradient": g, "norm": g.double().norm().item()}
            | {name: run.slots[name][i].clone() for name in run.slots}
            for i, (w, g) in enumerate(zip(run.weights, gradients, strict=True))
        ]
        norms = {"norm": [state["norm"] for state in states], "global_norm": inputs["global_norm"]}
        run.step(gradients, **(norms if dtype == torch.float64 else {}))  # no norm is exact to float64's last place
        for i, state in enumerate(states):
            right = exactly(program, state)
            assert ulps(run.weights[i], right[program.weights]) <= 4
            assert all(ulps(run.slots[name][i], right[program.slots[name]]) <= 8 for name in run.slots)
        for name, index in program.scalars.items():
            assert run.scalars[name] == pytest.approx(program.evaluate(inputs, (index,))[0], rel=1e-15)


@pytest.mark.parametrize("rule", [NAdam(), combine.ClipNorm(NAdam())], ids=label)
def test_groups_in_one_launch_equal_each_group_alone(rule: Rule) -> None:
    weights, rates, betas = randoms(SHAPES), np.array([1e-3, 3e-2]), np.array([0.9, 0.5])
    rows = [0, 1, 0, 1, 1, 0, 1]
    together, alone = Run(rule, weights), [Run(rule, weights) for _ in rates]
    for _ in range(3):
        gradients = together.gradients()
        together.t += 1
        given = {**values(rule), **together.scalars, "lr": rates, "beta1": betas, "t": together.t}
        together.scalars = together.kernel.step(together.weights, gradients, together.slots, given, rows=rows) or {}
        for k, run in enumerate(alone):
            run.rule = with_values(rule, {"lr": rates[k], "beta1": betas[k]})
            run.step(gradients)
    assert all(together.weights[i].equal(alone[row].weights[i]) for i, row in enumerate(rows))
    assert [run.scalars["q"] for run in alone] == list(together.scalars["q"])


@pytest.mark.parametrize("outer", [None, combine.ClipGlobalNorm, combine.ClipNorm], ids=str)
def test_lanes_of_a_flat_buffer_equal_each_lane_alone(outer: Any) -> None:
    rule: Rule = NAdam() if outer is None else outer(NAdam())
    lanes, shapes = 3, [(4, 5), (7,), ()]
    sizes = [int(np.prod(shape)) for shape in shapes]
    flat = torch.randn(lanes, sum(sizes), generator=torch.Generator().manual_seed(3))
    slots = {k: torch.zeros_like(flat) for k in slots_of(rule)}
    alone = [Run(rule, [p.reshape(s) for p, s in zip(flat[k].split(sizes), shapes, strict=True)]) for k in range(lanes)]
    rates, scalars, step = np.array([1e-3, 1e-2, 1e-1]), scalars_of(rule), KernelStep(rule)
    for t in (1, 2):
        gradients = [torch.randn(lanes, *shape, generator=alone[0].generator) for shape in shapes]
        scalars = (
            step.step(
                flat.split(sizes, 1),
                [g.view(lanes, -1) for g in gradients],
                {k: x.split(sizes, 1) for k, x in slots.items()},
                {**values(rule), **scalars, "lr": rates, "t": t},
                lanes=lanes,
            )
            or {}
        )
        for k, run in enumerate(alone):
            run.rule = with_values(rule, {"lr": rates[k]})
            run.step([g[k] for g in gradients])
    for k, run in enumerate(alone):
        assert torch.cat([w.ravel() for w in run.weights]).equal(flat[k])


def expanded(w: Tensor) -> Tensor:
    return torch.ones(1).expand(w.shape)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(
    "gradient", [torch.randn_like, expanded, lambda w: torch.randn(w.shape[::-1]).permute(3, 2, 1, 0)]
)
def test_any_order_of_memory_gives_the_same_numbers(order: torch.memory_format, gradient: Any) -> None:
    weights = torch.randn(2, 3, 4, 5)
    plain, other = Run(Adam(), [weights]), Run(Adam(), [weights.to(memory_format=order)])
    other.weights = [weights.clone(memory_format=order)]
    for _ in range(2):
        g = gradient(other.weights[0])
        plain.step([g.contiguous()])
        other.step([g])
    assert plain.weights[0].equal(other.weights[0])


def test_new_gradients_weights_and_types_between_steps_are_noticed() -> None:
    run, other = Run(Adam(), randoms(SHAPES)), Run(Adam(), randoms(SHAPES))
    for t in range(4):
        gradients = run.gradients()
        run.step([g.clone() for g in gradients])
        other.kernel = KernelStep(Adam())
        if t == 2:
            run.weights = [w.clone() for w in run.weights]
        other.step(gradients)
    assert all(a.equal(b) for a, b in zip(run.weights, other.weights, strict=True))
    run.weights = [w.double() for w in run.weights]
    run.slots = {k: [x.double() for x in column] for k, column in run.slots.items()}
    run.step(run.gradients())
    assert all(w.isfinite().all() for w in run.weights)


@pytest.mark.parametrize("rule", RULES, ids=label)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_where_it_is_and_shows(rule: Rule, bad: float) -> None:
    run, clean = Run(rule, randoms([(40,)])), Run(rule, randoms([(40,)]))
    for t in range(2):
        (g,) = run.gradients()
        clean.step([g])
        run.step([g.index_fill(0, torch.tensor([7]), bad) if t == 0 else g])
    others = torch.arange(40) != 7
    assert run.weights[0][others].equal(clean.weights[0][others])
    if np.isnan(bad):
        assert run.weights[0][7].isnan()


def test_autograd_notices_that_weights_changed() -> None:
    w = torch.ones(3, requires_grad=True)
    loss = (w * w).sum()
    KernelStep(SGD()).step([w], [torch.ones(3)], {}, {"lr": 0.1, "t": 1})
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize(
    "weights",
    [
        torch.ones(3, dtype=torch.int32),
        torch.ones(3, dtype=torch.complex64),
        torch.ones(2, 2).to_sparse(),
        torch.ones(6)[::2],
    ],
    ids=["integer", "complex", "sparse", "gaps"],
)
def test_what_a_kernel_cannot_serve_is_refused_with_the_way_out(weights: Tensor) -> None:
    with pytest.raises(UserError, match="engine='eager'"):
        KernelStep(SGD()).step([weights], [weights], {}, {"lr": 0.1, "t": 1})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_weights_with_float32_state(dtype: torch.dtype) -> None:
    rule, weights, generator = Adam(lr=0.1), randoms([(999,)], dtype)[0], torch.Generator().manual_seed(5)
    m, v = torch.zeros(999), torch.zeros(999)
    w, step = weights.clone(), KernelStep(rule)
    for t in (1, 2):
        g = torch.randn(999, generator=generator).to(dtype)
        u, new = rule.update(g.double(), {"m": m.double(), "v": v.double()}, w.double(), t)
        exact = w.double() + u
        step.step([w], [g], {"m": [m], "v": [v]}, {**values(rule), "t": t})
        assert torch.allclose(m.double(), new["m"], rtol=1e-6, atol=1e-7)
        assert (w == exact.to(dtype)).double().mean() > 0.99
        assert torch.allclose(w.double(), exact, rtol=torch.finfo(dtype).eps * 0.51, atol=torch.finfo(dtype).tiny)


def test_half_precision_keeps_nan_inf_and_the_smallest_numbers() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        special = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, torch.finfo(dtype).tiny], dtype=dtype)
        w = special.clone()
        KernelStep(SGD()).step([w], [torch.zeros_like(w)], {}, {"lr": 0.0, "t": 1})
        assert torch.allclose(w, special, equal_nan=True, rtol=0, atol=0)


def test_bfloat16_state_is_rounded_by_chance_so_that_its_mean_is_right() -> None:
    def moments(seed: int) -> Tensor:
        m, step = torch.zeros(20_000, dtype=torch.bfloat16), KernelStep(Momentum())
        w, g = torch.zeros(20_000), torch.full((20_000,), 1.001)
        step.step([w], [g], {"m": [m]}, {"lr": 0.1, "momentum": 0.0, "t": 1}, seed=seed)
        return m

    first, second = moments(1), moments(2)
    assert set(first.tolist()) == {1.0, 1.0078125}
    assert first.double().mean().item() == pytest.approx(1.001, abs=2e-4)
    assert first.equal(moments(1)) and not first.equal(second)


def test_the_number_of_threads_changes_no_bit_and_two_callers_may_step_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = combine.ClipGlobalNorm(Adam())
    runs = [Run(rule, randoms([(700_000,), (40,)])) for _ in range(3)]
    for run in runs[:2]:
        run.kernel.step(run.weights, run.weights, run.slots, {**values(rule), "t": 1})
    callers = [
        threading.Thread(target=lambda run=run: [run.step(run.gradients()) for _ in range(5)]) for run in runs[:2]
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    monkeypatch.setattr("ravine.engines.threads.torch.get_num_threads", lambda: 1)
    alone = runs[2]
    alone.kernel.step(alone.weights, alone.weights, alone.slots, {**values(rule), "t": 1})
    for _ in range(5):
        alone.step(alone.gradients())
    assert all(run.weights[0].equal(alone.weights[0]) for run in runs)


def test_every_part_of_a_shared_loop_is_done_once() -> None:
    done = np.zeros(1000, dtype=int)

    def work(first: int, last: int) -> None:
        done[first:last] += 1

    uneven = np.cumsum(np.arange(1000) ** 3)
    for threads in (1, 2, 5):
        share(work, 1000, threads)
        share(work, 1000, threads, uneven)
    assert (done == 6).all()


FORK = """
import os, torch
from ravine.engines.kernel import KernelStep
from ravine.rules.descent import SGD
torch.set_num_threads(2)
w, step = torch.ones(1_000_000), KernelStep(SGD())
g, numbers = w.clone(), w.numpy()
step.step([w], [g], {}, {"lr": 0.5, "t": 1})
child = os.fork()
step.step([w], [g], {}, {"lr": 0.5, "t": 1})
if child == 0:
    os._exit(0 if (numbers == 0).all() else 3)  # not by torch, whose own threads do not survive a fork
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or int(not (numbers == 0).all()))
"""
WARM = """
import sys, torch
from ravine.engines.kernel import KernelStep
from ravine.rules.adam import Adam
w, zeros = torch.ones(5), {"m": [torch.zeros(5)], "v": [torch.zeros(5)]}
given = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "t": 1}
KernelStep(Adam()).step([w], [w.clone()], zeros, given)
print(w.tolist(), "numba" in sys.modules)
"""


def python(text: str, cache: Path) -> str:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", text]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_steps_too(tmp_path: Path) -> None:
    python(FORK, tmp_path)


def test_a_new_process_takes_the_kernel_from_the_disk_and_mistrusts_a_damaged_one(tmp_path: Path) -> None:
    cold, warm = python(WARM, tmp_path), python(WARM, tmp_path)
    assert cold.split("]")[1].strip() == "True" and warm.split("]")[1].strip() == "False"
    (code,) = tmp_path.rglob("*.o")
    code.write_bytes(code.read_bytes()[:-9] + b"x" * 9)
    mended = python(WARM, tmp_path)
    assert mended == cold and mended.split("]")[0] == warm.split("]")[0]


def test_a_cache_that_cannot_be_written_costs_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(native, "folder", lambda: tmp_path / "file" / "kernels")
    source = "def kernel(table, coefficients, first, last, seed):\n    store_int64(table, 0, first)  # {}\n"
    source = source.replace("store_int64(table, 0, first)", "store_float64(table, 0, float64(first))")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for i in range(2):
            place = np.zeros(1)
            native.kernel(source.format(i))(place.ctypes.data, 0, 7, 0, 0)
            assert place[0] == 7
    assert len(seen) == 1 and "cannot be written" in str(seen[0].message)


def test_an_average_of_the_weights_is_written_in_the_same_pass() -> None:
    rule = combine.Averaged(NAdam(), 0.9)
    run, plain = Run(rule, randoms(SHAPES)), Run(NAdam(), randoms(SHAPES))
    means = [w.double() for w in plain.weights]
    for _ in range(3):
        gradients = run.gradients()
        run.step(gradients)
        plain.step(gradients)
        means = [0.9 * mean + 0.1 * w.double() for mean, w in zip(means, plain.weights, strict=True)]
    assert all(a.equal(b) for a, b in zip(run.weights, plain.weights, strict=True))
    assert all(torch.allclose(a.double(), b) for a, b in zip(run.slots["average"], means, strict=True))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_with_a_bad_gradient_is_left_out_where_that_is_asked_for(bad: float) -> None:
    run = Run(Adam(), randoms(SHAPES))
    gradients, given = run.gradients(), {**values(Adam()), "t": 1}
    gradients[2][123] = bad
    assert run.kernel.step(run.weights, gradients, run.slots, given, finite_only=True) is None
    assert all(w.equal(x) for w, x in zip(run.weights, randoms(SHAPES), strict=True))
    assert not any(x.any() for column in run.slots.values() for x in column)
    gradients[2][123] = 1e30  # its square is past float32 and yet it is a number
    assert run.kernel.step(run.weights, gradients, run.slots, given, finite_only=True) == {}


def test_a_norm_that_is_given_is_not_measured() -> None:
    step = KernelStep(combine.ClipGlobalNorm(SGD()))
    w = torch.zeros(2)
    step.step([w], [torch.tensor([3.0, 4.0])], {}, {"lr": 1.0, "clip": 1.0, "t": 1, "global_norm": 10.0})
    assert w.tolist() == pytest.approx([-0.3, -0.4], rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(5, 7), (3, 140_000), (4, 3, 2, 2)], ids=str)
def test_rows_longer_than_the_limit_are_shortened_and_the_others_untouched(dtype: torch.dtype, shape: Any) -> None:
    (before,) = randoms([shape], dtype)
    before[0] *= 1e-3
    before[1] *= 1e3
    norms = before.double().flatten(1).norm(dim=1)
    limits = norms.clone()
    limits[1] = 2.0
    after = before.clone()
    limit_rows(after, (limits * (1 + 1e-12)).tolist())
    untouched = torch.arange(shape[0]) != 1
    assert after[untouched].equal(before[untouched])
    assert torch.allclose(after[1].double(), before[1].double() * (2.0 / norms[1]), rtol=2 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("outer", [combine.ClipGlobalNorm, combine.CoupledDecay], ids=lambda outer: outer.__name__)
def test_a_max_norm_in_the_same_step_leaves_what_it_does_not_limit_as_the_rule_alone_does(outer: Any) -> None:
    shapes = [(3, 4), (5,), (2, 3, 2, 2), ()]
    run, plain = (
        Run(outer(combine.MaxNorm(Adam(lr=0.5), 2.5)), randoms(shapes)),
        Run(outer(Adam(lr=0.5)), randoms(shapes)),
    )
    for _ in range(3):
        gradients = run.gradients()
        run.weights = [w.clone() for w in plain.weights]  # lies elsewhere at every step
        run.step(gradients)
        plain.step(gradients)
        limited = 0
        for shape, got, free in zip(shapes, run.weights, plain.weights, strict=True):
            long = free.flatten(1).norm(dim=1) > 2.5 if len(shape) > 1 else torch.zeros(shape, dtype=torch.bool)
            limited += int(long.sum())
            assert got[~long].equal(free[~long])
            assert len(shape) < 2 or torch.allclose(got[long].flatten(1).norm(dim=1), torch.tensor(2.5))
        assert limited


@pytest.mark.parametrize("lanes", [0, 3])
def test_a_max_norm_has_a_limit_of_its_own_in_each_group_and_lane(lanes: int) -> None:
    weights = [10 * w for w in randoms([(3, 4, 5), (3, 6)])]
    step, limits = KernelStep(combine.MaxNorm(SGD())), np.array([1.0, 2.0, 3.0])
    given = {"lr": 0.0, "max_norm": limits, "t": 1}
    step.step(weights, weights, {}, given, rows=None if lanes else [2, 1], lanes=lanes)
    norms = [weights[0].flatten(2).norm(dim=2) if lanes else weights[0].flatten(1).norm(dim=1), weights[1].norm(dim=1)]
    if lanes:
        assert torch.allclose(norms[0], torch.tensor(limits, dtype=torch.float32)[:, None]) and bool(
            (norms[1] > 3).all()
        )
    else:
        assert torch.allclose(norms[0], torch.tensor(3.0)) and torch.allclose(norms[1], torch.tensor(2.0))


@pytest.mark.parametrize("order", ["channels_last", "transposed", "gaps"])
def test_rows_are_limited_in_any_order_of_memory(order: str) -> None:
    plain = randoms([(4, 3, 2, 2)])[0]
    other = {
        "channels_last": lambda: plain.clone(memory_format=torch.channels_last),
        "transposed": lambda: plain.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
        "gaps": lambda: torch.zeros(4, 3, 2, 4)[..., ::2].copy_(plain),
    }[order]()
    limit_rows(plain, 1.0)
    limit_rows(other, 1.0)
    assert torch.allclose(plain, other, rtol=1e-6)


def test_max_norm_refuses_what_has_no_rows() -> None:
    with pytest.raises(UserError, match="rows of a matrix"):
        limit_rows(torch.ones(3), 1.0)
