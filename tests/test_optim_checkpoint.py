"""Checkpoints: state finds its parameter, keeps its bits, shares nothing, and travels to torch.optim and back."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ravine.optim
from ravine.errors import UserError
from ravine.optim import RuleOptimizer
from ravine.rules.rule import catalogue

RULES = list(catalogue())
TORCH: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adagrad", {"lr_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.5}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"centered": True, "momentum": 0.5}),
    ("Adadelta", {}),
    ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("Adamax", {}),
    ("NAdam", {}),
]


def net(dtype: torch.dtype = torch.float64, turned: bool = False) -> nn.Module:
    torch.manual_seed(0)
    parts = {"one": nn.Linear(3, 3), "two": nn.Linear(3, 3)}
    return nn.ModuleDict(dict(reversed(parts.items())) if turned else parts).to(dtype)


def drive(optimizer: Any, model: nn.Module, steps: int, start: int = 0) -> None:
    """Gradients that depend on the parameter's name and the step only."""
    for step in range(start, start + steps):

        def closure(step: int = step) -> float:
            for name, p in model.named_parameters():
                generator = torch.Generator().manual_seed(1000 * step + sum(map(ord, name)))
                p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
            return 0.0

        optimizer.step(closure)


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for _, p in sorted(model.named_parameters())])


def stored(state: dict[str, Any]) -> dict[str, Any]:
    """Through a file, as a user would; nothing but tensors and plain values may be in it."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize(("dtype", "named"), [(torch.float64, True), (torch.bfloat16, False)], ids=str)
@pytest.mark.parametrize("rule", RULES)
def test_resumed_equals_uninterrupted_to_the_bit(rule: str, dtype: torch.dtype, named: bool) -> None:
    def build() -> tuple[nn.Module, RuleOptimizer]:
        model = net(dtype)
        return model, ravine.optim.of(rule)(model.named_parameters() if named else model.parameters())

    model, optimizer = build()
    drive(optimizer, model, 5)
    saved, weights = stored(optimizer.state_dict()), copy.deepcopy(model.state_dict())
    drive(optimizer, model, 10, start=5)
    second, resumed = build()
    second.load_state_dict(weights)
    resumed.load_state_dict(saved)
    drive(resumed, second, 10, start=5)
    assert torch.equal(flat(model), flat(second))


@pytest.mark.parametrize(("name", "options"), TORCH, ids=str)
def test_torch_loads_ours_and_we_load_torch(name: str, options: dict[str, Any]) -> None:
    homes = (ravine.optim, torch.optim)
    for source, target in (homes, homes[::-1]):
        model = net()
        first = getattr(source, name)(model.parameters(), lr=0.03, **options)
        drive(first, model, 4)
        other = copy.deepcopy(model)
        second = getattr(target, name)(other.parameters())
        second.load_state_dict(stored(first.state_dict()))
        assert second.param_groups[0]["lr"] == 0.03
        drive(first, model, 10, start=4)
        drive(second, other, 10, start=4)
        torch.testing.assert_close(flat(model), flat(other), rtol=1e-6, atol=1e-8)  # torch's NAdam is float32 inside


@pytest.mark.parametrize(("name", "options"), TORCH, ids=str)
def test_torch_s_layout_resumes_to_the_bit(name: str, options: dict[str, Any]) -> None:
    model = net(torch.float32)
    first = getattr(ravine.optim, name)(model.named_parameters(), **options)
    drive(first, model, 4)
    other = copy.deepcopy(model)
    second = getattr(ravine.optim, name)(other.named_parameters())
    second.load_state_dict(stored(first.state_dict()))
    drive(first, model, 10, start=4)
    drive(second, other, 10, start=4)
    assert torch.equal(flat(model), flat(other))


def test_groups_in_another_order_are_matched_by_name() -> None:
    model = net()
    one, two = model.get_submodule("one"), model.get_submodule("two")
    groups = [
        {"params": one.named_parameters(prefix="one"), "lr": 0.1},
        {"params": two.named_parameters(prefix="two"), "lr": 0.2},
    ]
    optimizer = ravine.optim.Adam(groups)
    drive(optimizer, model, 3)
    again = ravine.optim.Adam(
        [{"params": two.named_parameters(prefix="two")}, {"params": one.named_parameters(prefix="one")}]
    )
    again.load_state_dict(optimizer.state_dict())
    assert [group["lr"] for group in again.param_groups] == [0.2, 0.1]
    for p in model.parameters():
        assert torch.equal(again.state[p]["m"], optimizer.state[p]["m"])


def _saved(kind: str = "Adam", **options: Any) -> dict[str, Any]:
    model = net()
    optimizer = getattr(ravine.optim, kind)(model.named_parameters(), **options)
    drive(optimizer, model, 2)
    return optimizer.state_dict()


def _spoilt(change: str) -> dict[str, Any]:
    saved = _saved("NAdam" if change == "rule" else "Adam")
    group = saved["param_groups"][0]
    if change == "names":
        group["param_names"][0] = "three.weight"
    if change == "format":
        group["format"] = 99
    if change == "bounds":
        group["lr"] = -1.0
    if change == "shape":
        saved["state"][0]["exp_avg"] = torch.zeros(2)
    if change == "slots":
        del saved["state"][0]["exp_avg"], group["rule"]
    if change == "groups":
        saved["param_groups"].append(group)
        del group["param_names"]
    if change == "count":
        del group["param_names"]
        group["params"] = group["params"][:-1]
    return saved if change != "not a state" else {"weights": 1}


WRONG = {
    "names": "no parameter 'one.weight'",
    "format": "format 99",
    "bounds": "lr must lie in",
    "shape": r"'one.weight' has shape \[3, 3\], its m in the checkpoint \[2\]",
    "slots": "state of another rule",
    "groups": "2 groups",
    "count": "3 parameters",
    "rule": "is of nadam",
    "not a state": "not an optimizer's state",
}


@pytest.mark.parametrize("change", WRONG)
def test_a_wrong_checkpoint_is_one_sentence_and_changes_nothing(change: str) -> None:
    model = net()
    optimizer = ravine.optim.Adam(model.named_parameters())
    drive(optimizer, model, 3)
    before = optimizer.state_dict()
    with pytest.raises(UserError, match=WRONG[change]) as error:
        optimizer.load_state_dict(_spoilt(change))
    assert "\n" not in str(error.value)
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for index, state in before["state"].items():
        assert all(torch.equal(torch.as_tensor(v), torch.as_tensor(after["state"][index][k])) for k, v in state.items())


def test_a_checkpoint_of_another_class_is_refused() -> None:
    model = net()
    adam = torch.optim.Adam(model.parameters())
    drive(adam, model, 1)
    for name in ("SGD", "Adagrad", "Adamax"):
        with pytest.raises(UserError, match="state of another rule"):
            getattr(ravine.optim, name)(model.parameters()).load_state_dict(adam.state_dict())


def test_names_are_not_needed_on_both_sides() -> None:
    saved = _saved()
    model = net()
    optimizer = ravine.optim.Adam(model.parameters())
    optimizer.load_state_dict(saved)
    assert "param_names" not in optimizer.param_groups[0]
    assert optimizer.state[next(model.parameters())]["step"] == 2


def test_a_dialect_s_state_keeps_its_own_names() -> None:
    saved = _saved("SGD", momentum=0.9, dialect="lr-inside")
    assert set(saved["state"][0]) == {"step", "v"}
    assert saved["param_groups"][0]["rule"] == "momentum/lr-inside"


def test_schedules_are_code_and_stay_with_the_optimizer() -> None:
    model = net()
    optimizer = ravine.optim.Adam(model.parameters(), schedules={"lr": lambda t: 0.5})
    drive(optimizer, model, 1)
    saved = stored(optimizer.state_dict())
    assert "schedules" not in saved["param_groups"][0]
    optimizer.load_state_dict(saved)
    assert optimizer.rule_of(optimizer.param_groups[0], 3) == optimizer.rules()[0]


def test_complex_state_is_complex_in_the_checkpoint_as_torch_s() -> None:
    w = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    optimizer = ravine.optim.Adam([w])
    w.grad = torch.ones_like(w)
    optimizer.step()
    saved = optimizer.state_dict()
    assert saved["state"][0]["exp_avg"].dtype == torch.complex64
    optimizer.load_state_dict(saved)
    assert optimizer.state[w]["m"].shape == (2, 2)
