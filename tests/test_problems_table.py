"""Tables: understood aloud, encoded from training rows alone, and refused in one sentence."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from ravine import problems
from ravine.errors import UserError

ROWS = 60
WORDS = [["red", "green", "blue"][i % 3] for i in range(ROWS)]
NUMBERS = [float(i * i % 17) for i in range(ROWS)]
PRICES = [1.5 * number + 3 + i / 100 for i, number in enumerate(NUMBERS)]
GOOD = pl.DataFrame({"size": NUMBERS, "colour": WORDS, "price": PRICES})


def write(path: Path, content: Any) -> str:
    """A file from text, bytes or a frame; its path."""
    if isinstance(content, pl.DataFrame):
        if path.suffix == ".csv":
            content.write_csv(path)
        else:
            content.write_parquet(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_table_is_understood_aloud(tmp_path: Path, suffix: str) -> None:
    problem = problems.load(write(tmp_path / f"houses{suffix}", GOOD), target="price")
    assert (problem.name, problem.task, problem.shape) == ("houses", "regression", (4,))
    assert problem.understood == (
        "60 rows, 2 columns, 1 of them words",
        "a number to predict",
        "36 to train on, 12 to validate, 12 to test",
    )
    assert problem.train.x.dtype == problem.train.y.dtype == torch.float32
    assert torch.allclose(problem.train.x.mean(0), torch.zeros(4), atol=1e-6)


@pytest.mark.parametrize(
    ("column", "task", "classes"),
    [
        (WORDS, "classification", ("blue", "green", "red")),
        ([i % 2 == 0 for i in range(ROWS)], "classification", ("false", "true")),
        ([i % 2 for i in range(ROWS)], "classification", ("0", "1")),
        ([3 + i % 4 for i in range(ROWS)], "classification", ("3", "4", "5", "6")),
        ([i % 30 for i in range(ROWS)], "regression", ()),
        (PRICES, "regression", ()),
    ],
)
def test_class_and_number_are_told_apart(tmp_path: Path, column: list[Any], task: str, classes: tuple[str]) -> None:
    frame = GOOD.with_columns(goal=pl.Series(column))
    problem = problems.load(write(tmp_path / "t.csv", frame), target="goal")
    assert problem.task == task
    assert tuple(label.lower() for label in problem.classes) == classes
    assert any(("classes" if classes else "a number to predict") in clause for clause in problem.understood)


def columns_of(tmp_path: Path, **columns: Any) -> tuple[torch.Tensor, str]:
    """The training inputs of a table with these columns alone, and what was said."""
    frame = pl.DataFrame({**columns, "goal": [i % 2 for i in range(ROWS)]})
    problem = problems.load(write(tmp_path / "t.parquet", frame), target="goal")
    return problem.train.x, " · ".join(problem.understood)


def test_gaps_are_filled_with_the_training_median_and_marked(tmp_path: Path) -> None:
    x, said = columns_of(tmp_path, a=[None if i % 3 == 0 else float(i) for i in range(ROWS)])
    assert x.shape[1] == 2
    marker = x[:, 1] > 0
    assert marker.sum() > 5
    assert len(x[marker, 0].unique()) == 1
    assert float(x[marker, 0][0]) == pytest.approx(float(x[~marker, 0].median()), abs=0.2)
    assert "gaps in 'a' filled with the training median and marked" in said


def test_words_become_columns_and_gaps_a_word(tmp_path: Path) -> None:
    x, said = columns_of(tmp_path, colour=[None if i % 5 == 0 else word for i, word in enumerate(WORDS)])
    assert x.shape[1] == 4
    assert ((x > 0).sum(1) == 1).all()
    assert "gaps in 'colour' a word of their own" in said


def test_useless_columns_are_left_out_and_named(tmp_path: Path) -> None:
    x, said = columns_of(
        tmp_path,
        id=list(range(ROWS)),
        name=[f"person {i}" for i in range(ROWS)],
        empty=pl.Series([None] * ROWS, dtype=pl.Float64),
        nested=[[1, 2]] * ROWS,
        size=NUMBERS,
    )
    assert x.shape[1] == 1
    for clause in (
        "'id' left out, it only numbers the rows",
        "'name' left out, another word in every row",
        "'empty' left out, empty in the training part",
        "'nested' left out, a column of type List(Int64)",
    ):
        assert clause in said


def test_columns_of_very_many_words_are_left_out(tmp_path: Path) -> None:
    frame = pl.DataFrame({"street": [f"s{i // 2}" for i in range(400)], "a": range(400), "goal": [0.5, 1.5] * 200})
    problem = problems.load(write(tmp_path / "t.csv", frame), target="goal")
    assert any(clause.startswith("'street' left out, ") for clause in problem.understood)


def test_dates_and_booleans_are_numbers(tmp_path: Path) -> None:
    days = pl.Series(range(19_000, 19_000 + ROWS)).cast(pl.Int32).cast(pl.Date)
    x, _ = columns_of(tmp_path, day=days, moment=days.cast(pl.Datetime("ms")), yes=[i % 3 == 0 for i in range(ROWS)])
    assert x.shape[1] == 3
    assert torch.allclose(x[:, 0], x[:, 1], atol=1e-5)
    assert len(x[:, 0].unique()) == len(x)
    assert len(x[:, 2].unique()) == 2


def test_only_training_rows_teach_the_columns(tmp_path: Path) -> None:
    order = pl.DataFrame({"row": [i + 0.5 for i in range(ROWS)], "goal": PRICES})
    numbered = problems.load(write(tmp_path / "n.csv", order), target="goal")
    rank = torch.cat([numbered.train.x, numbered.valid.x, numbered.test.x]).flatten().argsort().argsort()
    outside = rank[len(numbered.train) :].tolist()
    before = problems.load(write(tmp_path / "a.csv", GOOD), target="price")
    changed = GOOD.to_dicts()
    for row in outside:
        changed[row] = {"size": 1e6 if row % 2 else None, "colour": f"new {row}", "price": -1e4 - row}
    after = problems.load(write(tmp_path / "b.csv", pl.DataFrame(changed)), target="price")
    assert torch.equal(before.train.x, after.train.x)
    assert torch.equal(before.train.y, after.train.y)
    assert not torch.equal(before.test.x, after.test.x)


@pytest.mark.parametrize(
    "text",
    [
        "a, b ,goal\n" + "".join(f" {i % 7}, {'x' if i % 2 else 'y'} ,{i * 1.5}\n" for i in range(20)),
        "a;b;goal\n" + "".join(f"{i % 7};{'x' if i % 2 else 'y'};{i * 1.5}\n" for i in range(20)),
        "\ufeffa\tb\tgoal\r\n" + "".join(f"{i % 7}\t{'x' if i % 2 else 'y'}\t{i * 1.5}\r\n" for i in range(20)),
        "a,b,goal\n" + "".join(f"{'NA' if i == 9 else i % 7},{'x' if i % 2 else ' ?'},{i * 1.5}\n" for i in range(20)),
    ],
    ids=["blanks", "semicolons", "tabs and byte order mark", "words for gaps"],
)
def test_csv_as_people_write_it(tmp_path: Path, text: str) -> None:
    problem = problems.load(write(tmp_path / "t.csv", text), target="goal")
    assert problem.understood[0] == "20 rows, 2 columns, 1 of them words"
    assert problem.shape[0] >= 3


def lines(*rows: str) -> str:
    return "\n".join(("a,b,goal", *rows)) + "\n"


FULL = [f"{i % 7},{i % 3},{i * 1.5}" for i in range(20)]


@pytest.mark.parametrize(
    ("content", "target", "sentence"),
    [
        ("", "goal", "is empty: give a table"),
        ("a,b,goal\n", "goal", "no rows: give a table"),
        (lines(*FULL), "gaol", "unknown column 'gaol': did you mean 'goal'?"),
        (lines(*FULL), None, "say which column to predict with --target, one of a, b, goal"),
        (lines(*(f"{i},{i},4" for i in range(20))), "goal", "is always 4"),
        (lines(*(f"{i},{i},2.5" for i in range(20))), "goal", "target 'goal' is always 2.5"),
        (lines(FULL[0]), "goal", "1 sample is too few"),
        (lines(*FULL[:9]), "goal", "9 samples are too few"),
        (lines(*FULL[:-3], "1,2,NaN", "1,2,", "3,4,NA"), "goal", "target 'goal' is missing in 3 of 20 rows"),
        (lines(*FULL[:-1], "1,inf,3"), "goal", "column 'b' is infinite in 1 rows"),
        (lines(*FULL[:-1], "1,2,inf"), "goal", "target 'goal' is NaN or infinite in 1 of 20 rows"),
        (lines(*(f"word {i},other {i},{i}.5" for i in range(20))), "goal", "no column carries anything to learn from"),
        (lines(*(f"1,2,{i}.5" for i in range(20))), "goal", "every input is constant"),
        (lines(*(f"1,2,name {i}" for i in range(20))), "goal", "holds 20 different words in 20 rows"),
        ("goal\n" + "1\n2\n" * 20, "goal", "has no column beside the target"),
        (lines(*FULL, "1,2,3,4,5"), "goal", "cannot be understood as CSV: found more fields"),
        ("a,goal\nJosé,1\n".encode("latin-1") * 20, "goal", "is not UTF-8 text: save it as UTF-8"),
        ("a,goal\n1,2\n".encode("utf-16"), "goal", "is not UTF-8 text"),
        (bytes(range(256)) * 9, "goal", "is not UTF-8 text"),
    ],
)
def test_bad_csv(tmp_path: Path, content: Any, target: str | None, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        problems.load(write(tmp_path / "t.csv", content), target=target)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("kept", [0, 3, 12, 0.5, 0.9, 0.999])
def test_truncated_parquet(tmp_path: Path, kept: float) -> None:
    whole = parquet(GOOD)
    cut = whole[: int(kept if kept >= 1 or not kept else kept * len(whole))]
    with pytest.raises(UserError, match=r"t.parquet is damaged or no Parquet file: "):
        problems.load(write(tmp_path / "t.parquet", cut), target="price")


def test_flipped_bits_of_parquet_end_in_a_sentence(tmp_path: Path) -> None:
    whole = parquet(GOOD)
    random, refused = np.random.default_rng(0), 0
    for _ in range(60):
        content = bytearray(whole)
        content[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))
        try:
            problems.load(write(tmp_path / "t.parquet", bytes(content)), target="price")
        except UserError:
            refused += 1
    assert refused > 5
