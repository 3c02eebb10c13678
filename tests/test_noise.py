"""Dropout by key: the same key, the same mask; inverted scaling; whole channels where torch drops them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ravine.engines.noise import KEY, KeyedDropout, noise_key, noise_layers, with_keyed_noise


def keyed(layer: KeyedDropout, key: int, x: Tensor) -> Tensor:
    layer.noise_key = torch.tensor(key)
    return layer(x)


def test_a_mask_depends_on_its_key_alone() -> None:
    layer, x = KeyedDropout(0.5), torch.ones(50, 20)
    assert torch.equal(keyed(layer, 3, x), keyed(layer, 3, x))
    assert not torch.equal(keyed(layer, 3, x), keyed(layer, 4, x))
    torch.manual_seed(0)
    first = keyed(layer, 3, x)
    torch.manual_seed(1)
    assert torch.equal(first, keyed(layer, 3, x))


@pytest.mark.parametrize("p", [0.0, 0.2, 0.7])
def test_the_mean_is_kept_in_training_and_evaluation_is_the_identity(p: float) -> None:
    layer, x = KeyedDropout(p), torch.ones(200, 500)
    out = keyed(layer, 1, x)
    assert float(out.mean()) == pytest.approx(1.0, abs=0.02)
    assert float((out == 0).float().mean()) == pytest.approx(p, abs=0.01)
    assert torch.equal(layer.eval()(x), x)


def test_all_may_be_dropped() -> None:
    assert not keyed(KeyedDropout(1.0), 1, torch.ones(3, 3)).any()


def test_spatial_dropout_drops_whole_channels() -> None:
    out = keyed(KeyedDropout(0.5, spatial=True), 1, torch.ones(8, 6, 4, 4))
    assert bool((out == out[:, :, :1, :1]).all())
    assert 0 < int((out[:, :, 0, 0] == 0).sum()) < 48


def test_gradients_pass_where_entries_were_kept() -> None:
    layer, x = KeyedDropout(0.5), torch.ones(6, 5, requires_grad=True)
    out = keyed(layer, 2, x)
    [grad] = torch.autograd.grad(out.sum(), [x])
    assert torch.equal(grad, out.detach())


@pytest.mark.parametrize("shared", [True, False])
def test_lanes_draw_what_each_draws_alone(shared: bool) -> None:
    layer = KeyedDropout(0.4)
    keys = torch.tensor([5, 9, 5])
    x = torch.ones(4, 3) if shared else torch.ones(3, 4, 3)
    out = vmap(lambda k, x: functional_call(layer, {KEY: k}, (x,)), in_dims=(0, None if shared else 0))(keys, x)
    for lane, key in enumerate(keys.tolist()):
        assert torch.equal(out[lane], keyed(layer, key, torch.ones(4, 3)))


def test_torchs_layers_are_replaced_wherever_they_are() -> None:
    made = with_keyed_noise(nn.Sequential(nn.Dropout(0.1), nn.Sequential(nn.Dropout2d(0.2)), nn.Linear(2, 2)))
    kinds = [module for module in made.modules() if isinstance(module, KeyedDropout)]
    assert [(layer.p, layer.spatial) for layer in kinds] == [(0.1, False), (0.2, True)]
    assert noise_layers(made) == ["0.noise_key", "1.0.noise_key"]
    assert "noise_key" not in "".join(made.state_dict())
    assert isinstance(with_keyed_noise(nn.Dropout(0.3)), KeyedDropout)


def test_keys_differ_by_seed_step_and_layer() -> None:
    keys = {noise_key(seed, step, layer) for seed in range(4) for step in range(4) for layer in range(4)}
    assert len(keys) == 64
