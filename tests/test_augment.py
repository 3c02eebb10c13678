"""Augmentation: drawn by (seed, epoch, sample), the same in any company; what each step does; what is refused."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import pytest
import torch
from scipy import stats
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from ravine.augment import Augment, Geometric, Pool, catalogue, make, to_spec, words
from ravine.augment.chosen import operations
from ravine.augment.colour import recoloured
from ravine.augment.draws import normal, uniform
from ravine.augment.mixing import beta
from ravine.augment.warp import warp
from ravine.errors import UserError
from ravine.problems import load

STEPS = [name for name in catalogue() if make(name).mixing is None]
SIZE = 12


def images(n: int = 17, channels: int = 3, size: int = SIZE) -> Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(1))


def chain(name: str) -> Augment:
    """That step alone, with settings that suit these small images."""
    return make({"scale-crop": "scale-crop:14:20"}.get(name, name))


@pytest.mark.parametrize("name", STEPS)
def test_a_sample_is_changed_alike_in_any_company(name: str) -> None:
    augment, x, ids = chain(name), images(), torch.arange(17) * 5 + 2
    before, state = x.clone(), torch.random.get_rng_state()
    whole = augment(x, ids, seed=3, epoch=4)
    assert x.equal(before) and torch.random.get_rng_state().equal(state)
    order = torch.randperm(17, generator=torch.Generator().manual_seed(0))
    assert augment(x[order], ids[order], seed=3, epoch=4).equal(whole[order])
    for i in (0, 9, 16):
        assert augment(x[i : i + 1], ids[i : i + 1], seed=3, epoch=4).equal(whole[i : i + 1])
    assert not augment(x, ids, seed=3, epoch=5).equal(whole)
    assert not augment(x, ids, seed=4, epoch=4).equal(whole)
    assert whole.shape == x.shape and whole.isfinite().all()


@pytest.mark.parametrize("name", ["mixup", "cut-mix"])
def test_a_mixture_is_the_same_in_any_company(name: str) -> None:
    augment, given = make(f"flip,{name}"), images()
    pool = Pool(given, torch.arange(17) % 3)
    ids = torch.arange(17)
    x, y = augment.labelled(given, pool.y, ids, 1, 2, pool=pool, classes=3)
    some = torch.tensor([11, 4])
    assert augment.labelled(given[some], pool.y[some], some, 1, 2, pool=pool, classes=3)[0].equal(x[some])
    assert augment.labelled(given[some], pool.y[some], some, 1, 2, pool=pool, classes=3)[1].equal(y[some])


@pytest.mark.parametrize("name", ["mixup:1", "cut-mix"])
def test_labels_are_mixed_in_the_shares_of_the_samples(name: str) -> None:
    """Sample i has the number i in each pixel and a class of its own, so the mean pixel is told by the label."""
    n = 30
    given = torch.arange(n).float().view(n, 1, 1, 1).expand(n, 1, 10, 10)
    pool = Pool(given, torch.arange(n))
    x, y = make(name).labelled(given, pool.y, torch.arange(n), pool=pool, classes=n)
    torch.testing.assert_close(y.sum(1), torch.ones(n))
    torch.testing.assert_close(x.mean((1, 2, 3)), y @ torch.arange(n).float(), rtol=0, atol=1e-4)
    assert int(((y > 0).sum(1) == 2).sum()) > n / 2


def test_one_number_a_sample_is_mixed_as_a_column_of_them() -> None:
    given, ids = torch.rand(9, 4), torch.arange(9)
    pool = Pool(given, torch.rand(9))
    _, y = make("mixup:1").labelled(given, pool.y, ids, pool=pool)
    _, column = make("mixup:1").labelled(given, pool.y[:, None], ids, pool=Pool(given, pool.y[:, None]))
    assert y.equal(column[:, 0])
    with pytest.raises(UserError, match="say how many classes"):
        make("mixup").labelled(given, ids, ids, pool=Pool(given, ids))


def test_numbers_to_predict_are_mixed_too_and_p_leaves_some_alone() -> None:
    given = torch.rand(200, 4)
    pool = Pool(given, torch.rand(200, 1))
    x, y = make("mixup:1:p=0.5").labelled(given, pool.y, torch.arange(200), pool=pool)
    alone = (x == given).all(1)
    assert 60 < int(alone.sum()) < 140
    assert y[alone].equal(pool.y[alone]) and not bool((y[~alone] == pool.y[~alone]).any())


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    drawn = beta(alpha, uniform(7, torch.arange(4000), 1)[:, 0])
    assert stats.kstest(drawn.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_numbers_of_neighbouring_samples_and_keys_are_uniform_and_unrelated() -> None:
    ids = torch.arange(3000)
    u, other = uniform(5, ids, 4), uniform(6, ids, 4)
    assert stats.kstest(u.flatten().numpy(), "uniform").pvalue > 1e-3
    z = normal(5, ids, 3)
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-3
    together = torch.cat([u, other, z, u.roll(1, 0)], 1)
    related = torch.corrcoef(together.T) - torch.eye(15)
    assert float(related.abs().max()) < 0.09


def moved(x: Tensor, spec: str, *u: float) -> Tensor:
    """The images after one step with these numbers drawn for each."""
    [step] = make(spec).steps
    assert isinstance(step, Geometric)
    return warp(x, [(step, torch.ones(len(x), dtype=torch.bool), torch.tensor(u).expand(len(x), -1))])


@pytest.mark.parametrize(
    ("spec", "u", "expected"),
    [
        ("flip", [], lambda x: x.flip(-1)),
        ("flip-vertical", [], lambda x: x.flip(-2)),
        ("rotate:180", [0.75], lambda x: x.rot90(1, (2, 3))),
        ("crop:2", [0.999, 0.0], lambda x: torch.nn.functional.pad(x, (0, 2, 2, 0))[..., :SIZE, 2:]),
        ("translate:0.25", [1.0, 0.5], lambda x: torch.nn.functional.pad(x, (0, 3))[..., 3:]),
        ("scale-crop:24:24:12", [0.5, 0.5, 0.5], lambda x: halved(x)),
        ("zoom:2", [1.0], lambda x: halved(x)),
        ("shear:45", [0.5], lambda x: x),
        ("lens:0.3", [0.5], lambda x: x),
    ],
)
def test_where_pixels_go(spec: str, u: list[float], expected: Any) -> None:
    x = images(3)
    torch.testing.assert_close(moved(x, spec, *u), expected(x), rtol=0, atol=1e-4)


def halved(x: Tensor) -> Tensor:
    """The middle of the image at twice its size."""
    large = torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    return large[..., SIZE // 2 : -SIZE // 2, SIZE // 2 : -SIZE // 2]


def test_shear_stretch_and_lens_move_what_lies_off_the_centre() -> None:
    """A ramp along one direction tells at each place from where it was read."""
    ramp = (torch.arange(21) - 10.0).expand(1, 1, 21, 21)  # the x of each pixel
    slanted = moved(ramp, "shear:45", 1.0)[0, 0]
    assert slanted[10, 10] == 0 and slanted[13, 10] == pytest.approx(3, abs=1e-3)
    wide = moved(ramp, "stretch:2", 1.0)[0, 0]
    assert wide[10, 14] == pytest.approx(2, abs=1e-3)
    assert moved(ramp.mT, "stretch:2", 1.0)[0, 0][12, 10] == pytest.approx(4, abs=1e-3)
    bent = moved(ramp, "lens:0.3", 0.0)[0, 0]  # k = -0.3
    assert bent[10, 20] == pytest.approx(10 * (1 - 0.3 * 100 * 4 / (2 * 21**2)), abs=1e-3)


def test_steps_that_move_pixels_are_read_once_yet_as_one_after_another() -> None:
    x = images(2, size=33)
    together = warp(x, [_drawn("rotate:180", 0.75), _drawn("flip"), _drawn("translate:0.5", 0.5, 1.0)])
    apart = torch.nn.functional.pad(x.rot90(1, (2, 3)).flip(-1), (0, 0, 0, 16))[..., 16:-1, :]
    torch.testing.assert_close(together[..., :16, :], _half(apart), rtol=0, atol=1e-4)


def _drawn(spec: str, *u: float) -> Any:
    return make(spec).steps[0], torch.ones(2, dtype=torch.bool), torch.tensor(u).expand(2, -1)


def _half(x: Tensor) -> Tensor:
    """The image read half a pixel further down, without its last row."""
    return ((x[..., :-1, :] + x[..., 1:, :]) / 2)[..., :16, :]


def test_a_patch_of_another_size() -> None:
    big = images(4, size=40)
    made = make("scale-crop:26:48:22,flip")
    assert made(big, torch.arange(4)).shape == (4, 3, 22, 22)


def test_standardised_inputs_are_taken_back_to_pixels() -> None:
    x, ids = images(), torch.arange(17)
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1), torch.tensor([0.2, 0.3, 0.1]).view(1, 3, 1, 1)
    plain = make("crop:3,jitter,erase:p=1")
    scaled = make("crop:3,jitter,noise:0.01", mean=mean, std=std)((x - mean) / std, ids)
    torch.testing.assert_close(scaled * std + mean, make("crop:3,jitter,noise:0.01")(x, ids), rtol=0, atol=1e-5)
    erased = make("erase:p=1", mean=mean, std=std)((x - mean) / std, ids)
    share = float((erased.abs() < 1e-6).all(1).float().mean())
    assert 0.05 < share < 0.33 and not plain(x, ids).equal(x)


def test_labels_survive() -> None:
    """Neighbours that know only the untouched digits still name the changed ones."""
    problem = load("digits")
    judge = KNeighborsClassifier(3).fit(problem.train.x.flatten(1).numpy(), problem.train.y.numpy())
    right: dict[str, float] = {}
    for spec in ("rotate:8,translate:0.03,zoom:1.05,shear:5,stretch:1.05,lens:0.1,noise:0.05", "rotate:180,zoom:3"):
        inputs = problem.inputs
        assert inputs is not None
        mean, std = inputs.pixels
        x = make(spec, mean=mean, std=std)(problem.valid.x, torch.arange(len(problem.valid)))
        right[spec] = judge.score(x.flatten(1).numpy(), problem.valid.y.numpy())
    mild, wild = right.values()
    assert mild > 0.9 > 0.6 > wild


def test_noise_is_ridge_regression() -> None:
    """R14: the least squares over many epochs of noisy inputs are those of ridge with lambda = n sigma^2."""
    n, sigma = 300, 0.5
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(n, 4, generator=draw) @ torch.randn(4, 4, generator=draw)
    y = x @ torch.tensor([1.0, -2.0, 0.5, 3.0]) + 0.1 * torch.randn(n, generator=draw)
    augment, ids = make([{"name": "noise", "sigma": sigma}]), torch.arange(n)
    seen = torch.cat([augment(x, ids, epoch=epoch) for epoch in range(600)]).double()
    learned = torch.linalg.lstsq(seen, y.double().repeat(600).unsqueeze(1)).solution[:, 0]
    x, y = x.double(), y.double()
    ridge = torch.linalg.solve(x.T @ x + n * sigma**2 * torch.eye(4), x.T @ y)
    plain = torch.linalg.lstsq(x, y.unsqueeze(1)).solution[:, 0]
    assert float((learned - ridge).norm() / ridge.norm()) < 1e-2
    assert float((plain - ridge).norm() / ridge.norm()) > 5e-2


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: make("flp"), "unknown step of augment 'flp': did you mean 'flip'?"),
        (lambda: make("crop:two"), "'two' is no number"),
        (lambda: make("crop:4:5:6:7"), "crop has 1 settings"),
        (lambda: make("crop:4.5"), "pad must be whole pixels"),
        (lambda: make([{"name": "crop", "pd": 4}]), "unknown setting of crop 'pd': did you mean 'pad'?"),
        (lambda: make([{"name": "crop", "pad": "4"}]), "pad must be a number"),
        (lambda: make([{"pad": 4}]), "needs a name"),
        (lambda: make([]), "no step is given"),
        (lambda: make(" , "), "name one step at least"),
        (lambda: make("rotate:0"), "degrees must lie in"),
        (lambda: make("lens:0.5"), "strength must lie in"),
        (lambda: make("flip:p=0"), "p must lie in"),
        (lambda: make("flip,flip"), "stands there twice"),
        (lambda: make("mixup,flip"), "must be the last step"),
        (lambda: make("mixup,cut-mix"), "the only one that mixes"),
        (lambda: make("jitter:0:0:0:0"), "every setting is 0"),
        (lambda: make("scale-crop:20:10"), "low 20 must not exceed high 10"),
        (lambda: make("rand-augment:1.5"), "whole number"),
        (lambda: make("crop:12")(images(), torch.arange(17)), "pad 12 must be less than the 12 pixels"),
        (lambda: make("scale-crop:8:20")(images(), torch.arange(17)), "a crop of 12 pixels is larger than the image"),
        (lambda: make("scale-crop:12:12")(images(), torch.arange(17)), "it does nothing"),
        (lambda: make("jitter:0:0:0.2")(images(channels=1), torch.arange(17)), "saturation does nothing"),
        (lambda: make("jitter:0:0")(images(channels=1), torch.arange(17)), "does nothing to images without colour"),
        (
            lambda: make("flip")(torch.rand(4, 13), torch.arange(4)),
            "flip is for images, and the batch holds rows of 13",
        ),
        (lambda: make("flip")(images().mul(255).byte(), torch.arange(17)), "x must be floats, got torch.uint8"),
        (lambda: make("flip")(images(), torch.arange(3)), "ids must be 17 integers"),
        (lambda: make("mixup")(images(), torch.arange(17)), "mixup changes labels too"),
    ],
)
def test_mistakes_are_one_sentence(call: Any, said: str) -> None:
    with pytest.raises(UserError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)


def test_without_kornia_the_cure_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'ravine\[vision\]'"):
        make("flip")(images(), torch.arange(17))


@pytest.mark.parametrize("name", catalogue())
def test_a_step_comes_back_from_its_plain_values(name: str) -> None:
    [step] = make([{"name": name, "p": 0.25}]).steps
    assert make([to_spec(step)]).steps == (step,)
    assert math.isclose(step.p, 0.25) and words(name) == [{"name": name}]
    assert (type(step).__doc__ or "").strip()


def test_one_turn_through_the_hexcone_is_kornias_two() -> None:
    from kornia import enhance

    x = images(9, 3, 16)
    x[0] = x[0, :1].clone()  # greys
    x[1, :, :4], x[1, :, 4:8], x[1, 0] = 0, 1, 0.5
    draw = torch.Generator().manual_seed(2)
    saturation, turns = 0.5 + torch.rand(9, generator=draw), torch.rand(9, generator=draw) - 0.5
    column = (-1, 1, 1)
    for hue in (turns, None):
        expected = enhance.adjust_saturation(x, saturation)
        if hue is not None:
            expected = enhance.adjust_hue(expected, hue * 2 * torch.pi)
        found = recoloured(x, saturation.view(column), None if hue is None else hue.view(column))
        assert (found - expected).abs().max() < 2e-6
    assert (recoloured(x, None, turns.view(column)) - enhance.adjust_hue(x, turns * 2 * torch.pi)).abs().max() < 2e-6


def test_sharpness_posterise_and_solarise_are_kornias() -> None:
    from kornia import enhance

    x, m = images(7, 3, 12), torch.linspace(-1, 1, 7)
    x[0, :, :2], x[1, :, :2] = 0, 1
    ours = operations(3)
    assert (ours["sharpness"](x, m) - enhance.sharpness(x, 1 + 0.9 * m)).abs().max() < 1e-6
    fewer = enhance.posterize(x, 8 - (4 * m.abs()).round().int())
    assert (ours["posterise"](x, m) - fewer).abs().max() < 1e-6
    assert ours["solarise"](x, m).equal(enhance.solarize(x, 1 - m.abs()))


def test_whole_pixels_are_picked_as_they_are_and_outside_is_black() -> None:
    x = images(40, 3, 8)
    mean, std = torch.tensor([0.3, 0.4, 0.5]).view(1, 3, 1, 1), torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)
    ids = torch.arange(40)
    plain = make("flip,crop:3")(x, ids, 0, 1)
    scaled = make("flip,crop:3", mean=mean, std=std)((x - mean) / std, ids, 0, 1)
    assert set(plain.flatten().tolist()) <= {0.0, *x.flatten().tolist()} and 0.0 in plain
    torch.testing.assert_close(scaled * std + mean, plain, rtol=0, atol=1e-6)
