"""Parameter groups made for the user: decay, layers, patterns, kinds, ties; for our optimizers and torch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ravine
from ravine.errors import UserError
from ravine.optim import groups_for


class Tied(nn.Module):
    """An encoder with an embedding that its head shares, a parameter of its own, and one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 8)
        self.places = nn.Parameter(torch.zeros(5, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 10)
        self.head.weight = self.words.weight
        self.frozen = nn.Parameter(torch.zeros(2), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.encoder(self.words(x) + self.places)).mean(1))


def options(groups: list[dict[str, Any]], key: str) -> dict[str, Any]:
    return {name: group.get(key) for group in groups for name, _ in group["params"]}


def test_every_trained_parameter_is_in_one_group_by_its_first_name() -> None:
    net = Tied()
    groups = groups_for(net, weight_decay=0.1)
    names = [name for group in groups for name, _ in group["params"]]
    assert sorted(names) == sorted(name for name, p in net.named_parameters() if p.requires_grad)
    assert "words.weight" in names and "head.weight" not in names and "frozen" not in names
    assert all(p is dict(net.named_parameters())[name] for group in groups for name, p in group["params"])


def test_no_decay_on_norms_and_biases_whatever_they_are_called() -> None:
    decay = options(groups_for(Tied(), weight_decay=0.1), "weight_decay")
    spared = {name for name, value in decay.items() if value == 0}
    assert spared == {name for name in decay if name.endswith("bias") or ".norm" in name or name.startswith("norm")}
    assert "encoder.layers.0.self_attn.in_proj_bias" in spared

    class RootNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), RootNorm(), nn.GroupNorm(2, 4))
    assert {n for n, v in options(groups_for(net, weight_decay=0.1), "weight_decay").items() if v} == {"0.weight"}
    every = options(groups_for(net, weight_decay=0.1, no_decay=""), "weight_decay")
    assert set(every.values()) == {0.1}
    assert options(groups_for(net, weight_decay=0.1, no_decay="flat"), "weight_decay") == options(
        groups_for(net, weight_decay=0.1), "weight_decay"
    )


def test_rates_fall_from_the_top_layer_down() -> None:
    net = Tied()
    rates = options(groups_for(net, lr=1.0, layer_decay=0.5), "lr")
    assert rates["words.weight"] == rates["places"] == 1 / 8
    for layer in range(3):
        own = {rate for name, rate in rates.items() if name.startswith(f"encoder.layers.{layer}.")}
        assert own == {0.5 ** (2 - layer)}
    # the head's matrix is the words' own, so only its bias is left, which joins the layer below as the norm does
    assert rates["norm.weight"] == rates["head.bias"] == 1.0
    mlp = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    rates = options(groups_for(mlp, lr=1.0, layer_decay=0.1), "lr")
    assert rates == pytest.approx(
        {"0.weight": 0.01, "0.bias": 0.01, "1.weight": 0.01, "1.bias": 0.01, "3.weight": 0.1, "3.bias": 0.1,
         "5.weight": 1.0, "5.bias": 1.0}
    )  # fmt: skip
    turned = options(groups_for(mlp, lr=1.0, layer_decay=0.1, layers=["5.*", "3.*", "[01].*"]), "lr")
    assert turned["0.weight"] == 1.0 and turned["5.bias"] == pytest.approx(0.01)


def test_a_block_is_one_layer_whatever_it_holds() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mlp = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 4))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = nn.Sequential(nn.Sequential(Block(), Block()), nn.Sequential(Block(), Block()))

    rates = options(groups_for(Net(), lr=1.0, layer_decay=0.5), "lr")
    assert sorted(set(rates.values())) == [0.125, 0.25, 0.5, 1.0]
    assert rates["stages.0.0.mlp.0.weight"] == rates["stages.0.0.mlp.2.weight"] == 0.125


def test_what_is_more_specific_wins_and_any_name_of_a_tied_parameter_matches() -> None:
    groups = groups_for(
        Tied(), lr=0.1, weight_decay=0.1, layer_decay=0.5,
        by_kind={nn.Embedding: {"weight_decay": 0.0}, nn.LayerNorm: {"lr": 7.0}},
        by={"head.*": {"lr": 9.0}, "head.bias": {"weight_decay": 0.3}},
    )  # fmt: skip
    rates, decay = options(groups, "lr"), options(groups, "weight_decay")
    assert rates["words.weight"] == rates["head.bias"] == 9.0 and rates["norm.bias"] == 7.0
    assert decay["words.weight"] == 0.0 and decay["head.bias"] == 0.3


@pytest.mark.parametrize("kind", [torch.optim.AdamW, ravine.optim.AdamW, ravine.optim.NAdam])
def test_groups_are_those_of_a_hand_written_optimizer_and_keep_names(kind: Any) -> None:
    def stepped(make: Any) -> tuple[Any, dict[str, Tensor]]:
        torch.manual_seed(0)
        net = Tied()
        optimizer = make(net)
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.arange(20).remainder(10).view(4, 5)).square().mean().backward()
            optimizer.step()
        return optimizer, {name: p.detach() for name, p in net.named_parameters()}

    def by_hand(net: Tied) -> Any:
        spared = {n for n, _ in net.named_parameters() if n.endswith("bias") or ".norm" in n or n.startswith("norm")}
        params = [(n, p) for n, p in net.named_parameters() if p.requires_grad]
        made = [
            {"params": [p for n, p in params if n not in spared], "weight_decay": 0.1},
            {"params": [p for n, p in params if n in spared], "weight_decay": 0.0},
        ]
        return kind(made, lr=0.01)

    optimizer, mine = stepped(lambda net: kind(groups_for(net, weight_decay=0.1), lr=0.01))
    _, hand = stepped(by_hand)
    assert all(torch.equal(mine[name], hand[name]) for name in mine)
    assert optimizer.param_groups[0]["param_names"][:2] == ["places", "words.weight"]


def test_printed_they_are_a_table() -> None:
    shown = str(groups_for(Tied(), lr=0.1, weight_decay=0.05))
    head, first, second = shown.splitlines()
    assert head.split() == ["group", "tensors", "numbers", "options", "parameters"]
    assert "lr=0.1 weight_decay=0.05" in first and "places, words.weight" in first
    assert (
        "weight_decay=0 " in second
        and "... head.bias" in second
        and shown == repr(groups_for(Tied(), lr=0.1, weight_decay=0.05))
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"by": {"haed.*": {"lr": 1.0}}}, r"did you mean 'head\.\*'"),
        ({"by": {"head.*": 0.1}}, "give options for head"),
        ({"by": {"head.*": {"params": []}}}, "give options for head"),
        ({"by_kind": {nn.Conv2d: {}}}, "no Conv2d with parameters"),
        ({"weight_decay": 0.1, "no_decay": "norms"}, "did you mean 'norm'"),
        ({"layer_decay": 0.7}, "needs lr"),
        ({"layer_decay": 1.5, "lr": 0.1}, r"ratio in \(0, 1\]"),
        ({"layers": ["head.*"]}, "give layer_decay"),
        ({"layer_decay": 0.7, "lr": 0.1, "layers": ["head.*"]}, "no pattern matches places"),
    ],
)
def test_what_does_not_fit_is_one_sentence(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        groups_for(Tied(), **given)
    assert "\n" not in str(refused.value)


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(UserError, match="no parameters to train"):
        groups_for(nn.ReLU())
