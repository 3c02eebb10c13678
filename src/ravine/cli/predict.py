"""`ravine predict`: a saved model on new rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ravine.cli.app import app
from ravine.errors import UserError

if TYPE_CHECKING:
    import polars as pl

TABLES = (".csv", ".parquet")


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="a folder that a race or a run left: race-my-7f3a/model")],
    data: Annotated[Path, typer.Argument(help="rows to predict: CSV, Parquet, or NPZ with an array x")],
    out: Annotated[
        Path | None, typer.Option(help="a CSV or Parquet file to write; default: print CSV", show_default=False)
    ] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="that of each class too")] = False,
) -> None:
    """Predict with a saved model: words, gaps and units are treated as in training.

    Columns that the model was not trained on are left out, and said.

    [bold]Examples[/bold]

      ravine predict race-my-7f3a/model new.csv --out predictions.csv
      ravine predict race-my-7f3a/model new.csv --probabilities
    """
    from ravine.estimators import load_model
    from ravine.files import check_file, write_whole

    if out is not None:
        check_file(out, *TABLES)
    estimator: Any = load_model(model)
    if probabilities and not hasattr(estimator, "predict_proba"):
        raise UserError(f"--probabilities: the model in {model} gives none; leave it out")
    samples = _samples(estimator, data)
    table = _table(estimator, samples, probabilities)
    if out is None:
        print(table.write_csv(), end="")
        return
    import io

    content = io.BytesIO()
    _ = table.write_parquet(content) if out.suffix.lower() == ".parquet" else table.write_csv(content)
    write_whole(out, content.getvalue())
    print(f"{len(table):,} predictions: {out}")


def _samples(estimator: Any, path: Path) -> Any:
    """The rows of a file as the model takes them."""
    from ravine.problems import npz, table_file

    if not path.exists():
        raise UserError(f"{path}: no such file")
    names = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    if path.suffix.lower() == ".npz":
        x = next((array for name, array in npz.read(path).items() if name in npz.INPUTS), None)
        if x is None:
            raise UserError(f"{path}: name the array x")
        return x
    if path.suffix.lower() not in TABLES:
        raise UserError(f"{path} has the ending '{path.suffix}': give .csv, .parquet or .npz")
    frame, _ = table_file.read(path)
    if not names:
        return frame.to_numpy()
    from ravine.estimators.frames import completed

    others = [name for name in frame.columns if name not in names]
    if others:
        print(f"Note: left out, since the model was not trained on it: {', '.join(others)}", file=sys.stderr)
    try:
        return completed(frame, names, estimator.columns_used)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _table(estimator: Any, samples: Any, probabilities: bool) -> pl.DataFrame:
    import polars as pl

    found = estimator.predict(samples)
    if found.ndim == 1:
        columns = {"prediction": pl.Series(found.tolist())}
    else:
        columns = {f"prediction {place + 1}": pl.Series(found[:, place]) for place in range(found.shape[1])}
    if probabilities:
        chances = estimator.predict_proba(samples)
        columns |= {f"p({label})": pl.Series(chances[:, i]) for i, label in enumerate(estimator.classes_)}
    return pl.DataFrame(columns)
