"""Preprocessing: fitted on the training part, in place of standardising; saved with the run; quicker descent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ravine.errors import UserError
from ravine.problems import Part, Problem, from_arrays, load
from ravine.problems.inputs import CACHED
from ravine.problems.preprocess import load_inputs, packed, preprocessed


def table(n: int = 200) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Correlated columns with offsets, of scales from 1 to 100, and a constant one."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(n, 4)) @ draw.normal(size=(4, 4)) * [1, 10, 100, 3] + [2000, 5, -50, 0]
    return np.c_[x, np.full(n, 7.0)], draw.normal(size=n) + x[:, 0]


def coloured(n: int = 60, size: int = 3) -> Problem:
    draw = np.random.default_rng(1)
    x = (draw.random((n, 3, size, size)) * [[[[90]], [[200]], [[40]]]]).astype(np.uint8)
    return from_arrays(x, np.arange(n) % 2, name="patches")


def raw(problem: Problem, x: np.ndarray[Any, Any]) -> Tensor:
    """The raw rows of the training part, found by their standardised form."""
    assert problem.inputs is not None
    return torch.from_numpy(x)[(problem.inputs(torch.from_numpy(x)).unsqueeze(1) == problem.train.x).all(-1).any(1)]


def test_the_fitted_steps_give_the_inputs_of_the_problem_from_raw_rows() -> None:
    x, y = table()
    loaded = from_arrays(x, y)
    rows = raw(loaded, x)
    assert len(rows) == len(loaded.train)
    for names in ([], ["centre"], ["scale"], ["centre", "scale"], ["whiten-pca"], ["standardise", "whiten-zca"]):
        made = preprocessed(loaded, names)
        assert made.inputs is not None and made.inputs.names == tuple(names)
        expected = made.inputs(rows)[:, : made.shape[0]]
        order, same = made.train.x[:, 0].sort().indices, expected[:, 0].sort().indices
        scale = float(expected.abs().max())
        torch.testing.assert_close(made.train.x[order] / scale, expected[same] / scale, rtol=0, atol=2e-5)


def test_rows_are_scaled_alike_however_many_there_are() -> None:
    """They are scaled a few at a time: no row is left out, none scaled by others."""
    inputs = from_arrays(*table()).inputs
    assert inputs is not None
    rows = torch.randn(CACHED // 5 * 3 + 7, inputs.shift.shape[1], dtype=torch.float64) * 50
    made = inputs(rows)
    assert torch.equal(made, ((rows - inputs.shift) * inputs.factor).float()) and made.shape == rows.shape
    assert inputs(rows[:0]).shape == rows[:0].shape


def test_a_table_of_float32_is_read_as_it_is_and_gives_the_bits_of_float64() -> None:
    x, y = table()
    short = x.astype(np.float32)
    one, other = from_arrays(short, y), from_arrays(short.astype(np.float64), y)
    assert torch.equal(one.train.x, other.train.x) and torch.equal(one.test.x, other.test.x)
    assert torch.equal(preprocessed(one, []).train.x, preprocessed(other, []).train.x)


def test_columns_after_each_step() -> None:
    loaded = from_arrays(*table())
    centred, scaled = preprocessed(loaded, ["centre"]).train.x, preprocessed(loaded, ["scale"]).train.x
    assert float(centred.mean(0).abs().max()) < 1e-3 and float(centred.std(0).max()) > 20
    torch.testing.assert_close(scaled.std(0, correction=0)[:4], torch.ones(4), rtol=1e-4, atol=0)
    assert float(scaled.mean(0).abs().max()) > 1
    assert float(preprocessed(loaded, []).train.x[:, 0].mean()) == pytest.approx(2000, rel=1e-3)
    pca, zca = (preprocessed(loaded, ["standardise", f"whiten-{way}"]).train.x for way in ("pca", "zca"))
    assert pca.shape[1] == 4 and zca.shape[1] == 5  # the constant column carries nothing
    torch.testing.assert_close(pca.T @ pca / len(pca), torch.eye(4), rtol=0, atol=1e-4)
    close = torch.corrcoef(torch.cat([zca[:, :4], loaded.train.x[:, :4]], 1).T)
    assert float(close[:4, 4:].diagonal().min()) > 0.3  # turned back: each column is still most like itself


def test_images_are_scaled_by_channel_and_stay_images() -> None:
    loaded = coloured()
    scaled = preprocessed(loaded, ["centre"]).train.x
    spread = scaled.std((0, 2, 3))
    assert float(spread[1] / spread[2]) > 4
    white = preprocessed(loaded, ["whiten-zca"])
    assert white.shape == (3, 3, 3)
    flat = white.train.x.flatten(1)
    torch.testing.assert_close(flat.T @ flat / len(flat), torch.eye(27), rtol=0, atol=1e-3)


def test_only_the_training_part_is_measured() -> None:
    loaded = from_arrays(*table())
    other = replace(loaded, valid=Part(loaded.valid.x * 50 + 9, loaded.valid.y))
    for names in (["centre"], ["whiten-zca"]):
        a, b = preprocessed(loaded, names), preprocessed(other, names)
        assert a.train.x.equal(b.train.x) and a.test.x.equal(b.test.x) and not a.valid.x.equal(b.valid.x)


def test_what_is_there_is_not_done_twice() -> None:
    loaded = load("wine")
    assert preprocessed(loaded, None) is loaded and preprocessed(loaded, ["standardise"]) is loaded
    white = preprocessed(loaded, ["whiten-pca"])
    assert preprocessed(white, ["whiten-pca"]) is white
    again = preprocessed(preprocessed(loaded, ["scale"]), ["standardise"])
    torch.testing.assert_close(again.train.x, loaded.train.x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("names", [["standardise"], ["scale"], [], ["standardise", "whiten-zca"]])
def test_saved_and_loaded_to_the_same_bits(tmp_path: Path, names: list[str]) -> None:
    inputs = preprocessed(load("wine"), names).inputs
    assert inputs is not None
    (tmp_path / "preprocess.safetensors").write_bytes(packed(inputs))
    read = load_inputs(tmp_path)
    rows = torch.rand(5, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 100
    assert read(rows).equal(inputs(rows)) and read.names == tuple(names)
    with pytest.raises(UserError, match="13 columns"):
        read(rows[:, :4])


def test_descent_is_quicker_where_the_inputs_are_conditioned() -> None:
    """I8: the condition number of the Hessian before and after, and the steps to a target, which follow it."""
    loaded = from_arrays(*table())
    known = {}
    for name, names in {"raw": [], "centre": ["centre"], "both": ["standardise"], "white": ["whiten-pca"]}.items():
        x = preprocessed(loaded, names).train.x.double()
        x = torch.cat([x[:, (x != 0).any(0)][:, :4], torch.ones(len(x), 1)], 1)
        curvature = torch.linalg.eigvalsh(x.T @ x / len(x))
        known[name] = float(curvature[-1] / curvature[0]), steps(x, loaded.train.y.double(), float(curvature[-1]))
    conditions, counts = zip(*known.values(), strict=True)
    assert conditions[0] > 1e6 and conditions[-1] == pytest.approx(1, abs=1e-3)
    assert list(conditions) == sorted(conditions, reverse=True)
    assert counts[-1] <= 2 < 5 * counts[-1] < counts[2] < counts[1]


def steps(x: Tensor, y: Tensor, curvature: float, most: int = 5000) -> int:
    """Steps of gradient descent at 1 / L to a loss within 1e-3 of the least, as a share of what is to be gained."""
    least = float((y - x @ torch.linalg.lstsq(x, y).solution).square().mean())
    w, start = torch.zeros(x.shape[1], 1, dtype=torch.float64), float(y.square().mean())
    for step in range(most):
        rest = x @ w - y
        if float(rest.square().mean()) - least < 1e-3 * (start - least):
            return step
        w = w - x.T @ rest / len(x) / curvature
    return most


def few_pictures() -> Problem:
    return from_arrays(np.random.default_rng(0).random((40, 8, 8)), np.arange(40) % 2)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["center"], "unknown step of preprocess 'center': did you mean 'centre'?"),
        (["standardise", "standardise"], "stands there twice"),
        (["standardise", "scale"], "centre or scale beside it does nothing"),
        (["centre", "whiten-pca"], "whitening centres by itself"),
        (["whiten-zca", "scale"], "scale does nothing after whiten-zca"),
    ],
)
def test_steps_that_would_do_nothing_are_refused(names: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        preprocessed(load("wine"), names)


def test_what_does_not_fit_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="use whiten-zca"):
        preprocessed(coloured(), ["whiten-pca"])
    with pytest.raises(UserError, match="needs more than the 24 training images"):
        preprocessed(few_pictures(), ["whiten-zca"])
    bare = replace(load("wine"), inputs=None)
    with pytest.raises(UserError, match="has not standardised"):
        preprocessed(bare, ["centre"])
    (tmp_path / "other.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="holds no preprocessing"):
        load_inputs(tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="no such file"):
        load_inputs(tmp_path)
