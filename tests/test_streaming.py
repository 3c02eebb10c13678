"""Streamed data: the same bits as data in memory, in little memory, and one sentence where a file cannot be read."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch import Tensor

import ravine
from ravine.api import prepare
from ravine.errors import UserError
from ravine.problems import load
from ravine.problems import reading as reading_of
from ravine.problems.disk import Rows, array_file
from ravine.problems.moments import Moments
from ravine.problems.pictures import Pictures
from ravine.problems.problem import Part, Problem
from ravine.problems.reading import Reading
from ravine.problems.stream import Stream, chunks
from ravine.recipe import Recipe
from ravine.training.ahead import Ahead
from ravine.training.clock import Clock
from ravine.training.feed import Feed
from ravine.training.train import Training

STREAM, SKIP = Reading(stream=True), Reading(stream=True, bad_images="skip")
RANDOM = np.random.default_rng(0)


def arrays(folder: Path, samples: int = 90, test: int = 0) -> Path:
    """x.npy and y.npy, a table with columns far from zero; with an official test part where asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    x = RANDOM.normal([1e5, -3, 0, 1], [1, 2, 5, 0.01], (samples + test, 4))
    y = (x[:, 1] + x[:, 2] > 0).astype(np.int64)
    names = ("x_train", "y_train", "x_test", "y_test") if test else ("x", "y")
    for name, values in zip(names, (x[:samples], y[:samples], x[samples:], y[samples:]), strict=False):
        np.save(folder / f"{name}.npy", values)
    return folder


def pictures(folder: Path, count: int = 60, size: int = 8) -> Path:
    """Images of two classes, one brighter than the other."""
    for place in range(count):
        kind = folder / ("bright" if place % 2 else "dark")
        kind.mkdir(parents=True, exist_ok=True)
        pixels = RANDOM.integers(60 * (place % 2), 180 + 60 * (place % 2), (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(kind / f"{place:03}.png")
    return folder


def table(path: Path) -> Path:
    """A Parquet file with words, gaps and dates in several groups of rows."""
    rows = 120
    price = RANDOM.normal(size=rows)
    frame = pl.DataFrame(
        {
            "size": [None if i % 9 == 0 else float(price[i] * 3 + i % 4) for i in range(rows)],
            "town": [["York", "Bath", None, "Ely"][i % 4] for i in range(rows)],
            "day": pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 4, 29), eager=True),
            "price": price,
        }
    )
    frame.write_parquet(path, row_group_size=32)
    return path


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def trained(
    source: Path, stream: bool, folder: Path | None = None, stop_at: int | None = None, **more: Any
) -> Training:
    fields = {"problem": str(source), "model": "mlp:8", "epochs": 2, "batch": 16, "stream": stream, **more}
    recipe = Recipe.model_validate(fields)
    problem = prepare(str(source), recipe.target, wanted=recipe)
    assert problem.train.streamed is stream
    running = Training(recipe, problem, folder)
    for place, _ in enumerate(running.run()):
        if place == stop_at:
            os.kill(os.getpid(), signal.SIGINT)
    return running


KINDS: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "arrays": (lambda folder: arrays(folder / "a"), {}),
    "arrays with a test part": (lambda folder: arrays(folder / "a", test=30), {"preprocess": ["centre"]}),
    "images": (lambda folder: pictures(folder / "p"), {"sampling": "balanced"}),
    "Parquet": (lambda folder: table(folder / "t.parquet"), {"target": "price"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_streamed_is_in_memory_to_the_bit(tmp_path: Path, kind: str) -> None:
    make, more = KINDS[kind]
    source = make(tmp_path)
    memory, disk = trained(source, False, **more), trained(source, True, **more)
    exact = "preprocess" not in more  # what was standardised in memory is turned back there, which rounds once more
    assert not exact or memory.fingerprint() == disk.fingerprint()
    want, got = memory.result.curve[-1], disk.result.curve[-1]
    assert got.valid_loss == pytest.approx(want.valid_loss, rel=1e-5) and got.metric == pytest.approx(
        want.metric, abs=1e-4
    )
    assert disk.test() == pytest.approx(memory.test(), rel=1e-4)
    assert any(words.startswith("streamed: ") for words in disk.problem.understood)
    for part in (disk.problem.train, disk.problem.valid, disk.problem.test):
        assert part.streamed and part.x.device.type == "meta" and part.ids is not None


def test_images_are_augmented_and_mixed_alike_from_disk(tmp_path: Path) -> None:
    pytest.importorskip("kornia")
    source = pictures(tmp_path / "p")
    augment = [{"name": "flip"}, {"name": "noise", "sigma": 0.1}, {"name": "mixup"}]
    memory, disk = (trained(source, stream, augment=augment) for stream in (False, True))
    assert memory.fingerprint() == disk.fingerprint()


def test_a_race_on_streamed_data_is_the_race_in_memory(tmp_path: Path) -> None:
    source = str(arrays(tmp_path / "a", samples=160))
    options: dict[str, Any] = dict(rules=["sgd", "adam"], budget=4, epochs=2, batch=16, seeds=2, finalists=1, lanes=4)
    one, other = (ravine.race(source, **options, stream=stream, progress=False).result for stream in (False, True))
    assert [row.rule for row in one.ranking] == [row.rule for row in other.ranking]
    for a, b in zip(one.ranking, other.ranking, strict=True):
        assert a.valid_loss.mean == pytest.approx(b.valid_loss.mean, rel=1e-6)
    assert other.baselines is not None and "streamed" in other.baselines.note


def test_a_killed_run_on_streamed_data_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    source = pictures(tmp_path / "p")
    whole = trained(source, True)
    trained(source, True, tmp_path / "run", stop_at=2)
    again = Training(whole.recipe, whole.problem, tmp_path / "run")
    again.restore(tmp_path / "run")
    assert 0 < again.state.tick < again.clock.ticks
    for _ in again.run():
        pass
    assert again.fingerprint() == whole.fingerprint()


def test_moments_of_chunks_are_those_of_all_where_squares_would_lose_their_digits() -> None:
    x = RANDOM.normal([1e8, 0], [1, 1e-3], (1000, 2))
    whole = torch.from_numpy(x)
    found = sum((Moments.of(part) for part in whole.split(37)[1:]), Moments.of(whole[:37]))
    assert found.mean.numpy().ravel() == pytest.approx(x.mean(0), rel=1e-14)
    assert found.spread.numpy().ravel() == pytest.approx(x.std(0), rel=1e-9)
    naive = np.sqrt(np.abs(np.square(x).mean(0) - np.square(x.mean(0))))
    assert naive[0] != pytest.approx(x[:, 0].std(), rel=1e-3)


def test_many_chunks_are_standardised_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = str(arrays(tmp_path / "a"))
    want = load(source, reading=STREAM)
    monkeypatch.setattr("ravine.problems.stream.CHUNK", 7 * 16)
    monkeypatch.setattr("ravine.problems.stream.SMALL", 0)
    got = load(source, reading=STREAM)
    places = torch.arange(len(want.train))
    assert len(list(chunks((90, 4), places))) > 5
    torch.testing.assert_close(got.train.take(places).x, want.train.take(places).x, rtol=1e-6, atol=1e-6)


def test_a_run_on_more_data_than_it_may_hold(tmp_path: Path) -> None:
    rows = 60_000
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (rows, 3, 32, 32))
    x[:: rows // 50] = RANDOM.integers(0, 255, x[:: rows // 50].shape, dtype=np.uint8)
    del x
    np.save(tmp_path / "y.npy", np.arange(rows) % 4)
    whole = 4 * rows * 3072  # as float32: 737 MB
    resets, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not status.exists() or not os.access(resets, os.W_OK):
        pytest.skip("the system does not tell how much was held at most")

    def held(name: str) -> int:
        return next(1024 * int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))

    resets.write_text("5")  # what was held at most is counted anew
    before = held("VmRSS")
    problem = load(str(tmp_path), reading=STREAM)
    feed = Feed(problem, Clock(len(problem.train), 64, 1))
    for step in range(20):
        part, _ = feed.at([0], step)
        assert part.x.shape == (64, 3, 32, 32)
    feed.close()
    assert held("VmHWM") - before < whole / 5


def test_what_is_large_is_streamed_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources: list[tuple[str, str | None]] = [(str(table(tmp_path / "t.parquet")), "price")]
    sources += [(str(arrays(tmp_path / "a")), None), (str(pictures(tmp_path / "p")), None)]
    for source, target in sources:
        assert not load(source, target=target).train.streamed
    monkeypatch.setattr(reading_of, "available", lambda: 2000)
    for source, target in sources:
        problem = load(source, target=target)
        assert problem.train.streamed and not any(part.source for part in (problem.valid, problem.test)), source
        assert any("more than half of the 0.0 MB of memory that are free" in words for words in problem.understood)
        assert not load(source, target=target, reading=Reading(stream=False)).train.streamed


def test_a_table_is_turned_into_numbers_once_and_anew_when_it_changed(tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet")
    folder = tmp_path / "cache" / "ravine" / "tables"
    load(str(path), target="price", reading=STREAM)
    (first,) = folder.glob("*.npy")
    written = first.stat().st_mtime_ns
    load(str(path), target="price", reading=STREAM)
    assert [file.stat().st_mtime_ns for file in folder.glob("*.npy")] == [written]
    load(str(path), target="price", reading=STREAM, split_seed=1)  # medians and words are of the training rows
    os.utime(path, ns=(1, 1))
    load(str(path), target="price", reading=STREAM)
    assert len(list(folder.glob("*.npy"))) == 3


def test_rows_are_read_from_where_they_lie(tmp_path: Path) -> None:
    x = RANDOM.normal(size=(50, 3, 5, 5)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "both.npz", x=x, y=np.arange(50) % 2)
    ids = torch.tensor([7, 8, 9, 3, 49, 0, 0, 1])
    assert torch.equal(Rows(array_file(tmp_path / "x.npy"), "x").read(ids), torch.from_numpy(x[ids.numpy()]))
    problem = load(str(tmp_path / "both.npz"), reading=STREAM)
    assert isinstance(problem.train.source, Stream)
    assert torch.equal(problem.train.source.raw.read(ids), torch.from_numpy(x[ids.numpy()]))
    last = np.moveaxis(x, 1, -1)
    np.save(tmp_path / "x.npy", np.ascontiguousarray(last))
    assert torch.equal(Rows(array_file(tmp_path / "x.npy"), "x").read(ids), torch.from_numpy(x[ids.numpy()]))


def test_a_memory_mapped_array_of_the_users_own_is_streamed(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", RANDOM.normal(size=(80, 5)))
    x, y = np.load(tmp_path / "x.npy", mmap_mode="r")[10:], np.arange(70) % 2
    problem = prepare((x, y), wanted=Recipe(problem="mine", stream=True))
    memory = prepare((np.asarray(x), y))
    assert problem.train.streamed
    assert torch.equal(problem.train.take(torch.arange(42)).x, memory.train.x)


def cut(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[:-40])
    return file


def test_a_damaged_image_stops_or_is_skipped_in_memory_and_on_disk_alike(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p")
    torn, word = cut(folder / "dark" / "010.png"), folder / "bright" / "007.png"
    word.write_text("no image")
    for reading in (Reading(stream=False), STREAM):
        with pytest.raises(UserError, match=r"bright/007.png is a damaged image, or none; replace it, or leave"):
            load(str(folder), reading=reading)
    word.unlink()
    with pytest.raises(UserError, match=r"dark/010.png is a damaged image"):
        load(str(folder), reading=Reading(stream=False))
    word.write_text("no image")
    memory = load(str(folder), reading=Reading(stream=False, bad_images="skip"))
    disk = load(str(folder), reading=SKIP)
    said = "2 damaged images left out: bright/007.png, dark/010.png"
    assert said in memory.understood and said in disk.understood
    places = torch.arange(len(memory.train))
    assert torch.equal(disk.train.take(places).x, memory.train.x)
    torn.unlink()
    word.unlink()
    assert torch.equal(load(str(folder)).train.x, memory.train.x)  # as if they had never been there


def test_an_image_that_breaks_during_a_run_is_named(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p")
    problem = load(str(folder), reading=SKIP)
    assert problem.train.ids is not None and isinstance(problem.train.source, Stream)
    raw = problem.train.source.raw
    assert isinstance(raw, Pictures)
    file = cut(Path(raw.files[int(problem.train.ids[5])]))
    with pytest.raises(UserError, match=rf"{file.name} is a damaged image"):
        list(Training(Recipe(problem=str(folder), model="mlp:8", epochs=1, batch=16, stream=True), problem).run())
    Image.new("RGB", (9, 9)).save(file)
    with pytest.raises(UserError, match=rf"{file.name} is 9x9 now, and was 8x8 before"):
        problem.train.take(torch.arange(20))


def test_every_image_damaged_is_one_sentence(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p", count=12)
    for file in folder.rglob("*.png"):
        file.write_text("none")
    with pytest.raises(UserError, match="every image is damaged"):
        load(str(folder), reading=SKIP)


def test_a_reader_that_is_killed_is_one_sentence(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p")
    images = Pictures(sorted(folder.rglob("*.png")), "RGB", (8, 8))
    assert len(images.read(torch.arange(20))) == 20
    os.kill(images.workers[0].pid, signal.SIGKILL)
    images.workers[0].wait()
    with pytest.raises(UserError, match="a process that decodes images was ended from outside"):
        images.read(torch.arange(20))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: cut(folder / "x.npy"), "shorter than its header says"),
        (lambda folder: (folder / "x.npy").write_text("no array"), "damaged or no array"),
        (lambda folder: np.save(folder / "x.npy", np.array([{}] * 90)), "pickled objects"),
        (lambda folder: np.save(folder / "x.npy", np.asfortranarray(np.zeros((90, 4)))), "column by column"),
        (lambda folder: np.save(folder / "x.npy", np.zeros((80, 4))), "x has 80 samples and y has 90"),
        (lambda folder: np.save(folder / "x.npy", np.full((90, 4), np.nan)), "NaN or infinite"),
        (lambda folder: np.save(folder / "x.npy", np.ones((90, 4))), "every input is constant"),
        (lambda folder: (folder / "y.npy").unlink(), "name the arrays x and y"),
        (lambda folder: np.save(folder / "x_test.npy", np.ones((9, 4))), "x_test alone"),
    ],
)
def test_bad_arrays_are_one_sentence(tmp_path: Path, spoil: Callable[[Path], object], sentence: str) -> None:
    folder = arrays(tmp_path / "a")
    spoil(folder)
    with pytest.raises(UserError, match=sentence):
        load(str(folder), reading=STREAM)


def test_what_cannot_be_streamed_is_refused(tmp_path: Path) -> None:
    source = arrays(tmp_path / "a")
    np.savez_compressed(tmp_path / "c.npz", x=np.ones((20, 2)), y=np.arange(20) % 2)
    with pytest.raises(UserError, match=r"c.npz is compressed, so nothing but the whole can be read"):
        load(str(tmp_path / "c.npz"), reading=STREAM)
    with pytest.raises(UserError, match="lbfgs takes the whole training part at once, and that of a is streamed"):
        trained(source, True, rule={"name": "lbfgs"})
    with pytest.raises(UserError, match="whiten-pca needs the whole training part in memory"):
        trained(source, True, preprocess=["whiten-pca"])
    for data in ("digits", (np.ones((20, 2)), np.arange(20) % 2)):
        with pytest.raises(UserError, match="stream is for folders of images"):
            prepare(data, wanted=Recipe(problem="x", stream=True))
    with pytest.raises(UserError, match="bad_images skip is for folders of images, and digits is none"):
        load("digits", reading=Reading(bad_images="skip"))


class Slow:
    """A source whose threads take their time, each another one."""

    def read(self, ids: Tensor) -> Tensor:
        time.sleep(random.random() / 200)
        return ids[:, None].float()


def test_what_is_read_ahead_comes_in_order_and_an_error_at_its_step() -> None:
    part = Part(torch.empty(40, 1, device="meta"), torch.arange(40) % 2, torch.arange(40), Slow())
    problem = Problem("slow", "classification", part, part, part, ("a", "b"))
    feed = Feed(problem, Clock(40, 8, 4))
    for step in range(20):
        made, index = feed.at([3, 5], step)
        assert torch.equal(made.x[index][..., 0].long(), feed.batches.at([3, 5], step))
    feed.close()

    def plan(place: int) -> Callable[[], Part]:
        def work() -> Part:
            if place == 2:
                raise UserError("the third is broken")
            return part

        return work

    ahead = Ahead(plan, 5)
    assert ahead.at(0) is part and ahead.at(1) is part
    with pytest.raises(UserError, match="the third is broken"):
        ahead.at(2)
    ahead.close()
