"""The page: one HTML file that holds everything it shows, its scripts allowed by their hashes and by nothing else."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from ravine import reading
from ravine.files import write_whole
from ravine.report import equation, figures, findings, mattered, numbers, rows, svg
from ravine.results import RaceResult

HERE = Path(__file__).parent


def html(result: RaceResult) -> str:
    """The whole report of a race as the text of one HTML file that loads nothing."""
    return rendered("page.html", HERE, r=result, **_contents(result))


def rendered(template: str, folder: Path, **contents: Any) -> str:
    """A page of that template, which extends ``frame.html``: style, scripts, and the policy that allows only those.

    What pages are made of, plots and tables among it, are the macros of ``pieces.html``.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    pages = Environment(
        loader=FileSystemLoader([folder, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known: dict[str, Any] = pages.globals
    known.update(numbers=numbers, parts=_parts)
    scripts = [_one_newline(get_plotlyjs()), _one_newline((HERE / "page.js").read_text(encoding="utf-8"))]
    style = (HERE / "page.css").read_text(encoding="utf-8")
    policy = " ".join(f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts)
    return pages.get_template(template).render(scripts=scripts, style=style, policy=policy, **contents)


def write(result: RaceResult, path: str | Path) -> Path:
    """Write the report to a file, or to ``report.html`` in a folder; the file is whole or not there at all."""
    return write_page(html(result), path)


def write_page(text: str, path: str | Path) -> Path:
    """Write a page to a file, or to ``report.html`` in a folder; the file is whole or not there at all."""
    target = Path(path)
    target = target / "report.html" if target.is_dir() else target
    write_whole(target, text.encode())
    return target


def _contents(result: RaceResult) -> dict[str, Any]:
    """What the template shows besides the race's own words."""
    ranked = rows.rows(result)
    on = svg.scale(result)
    rates = figures.rate_figures(result)
    return {
        "rows": ranked,
        "strips": [svg.strip(row.standing, on) for row in ranked],  # numbers and fixed colours only: safe as markup
        "test": rows.metric(result, result.test) if result.test else "",
        "setup": rows.setup(result),
        "say": {
            name: getattr(findings, name)(result)
            for name in ("learning_rates", "curves", "failures", "differences", "paid", "baselines")
        }
        | {"mattered": mattered.finding(result)},
        "rates": {rule: figure_data(figure) for rule, figure in rates.items()},
        "mattered": mattered.mattered(result),
        "alone": {name: figure_data(made) for name, made in mattered.alone_figures(result).items()},
        "figures": {
            "mattered": figure_data(mattered.shares_figure(result.importance) if result.importance else None),
            "curves": figure_data(figures.curve_figure(result)),
            "failures": figure_data(figures.failure_figure(result)),
            "differences": figure_data(figures.difference_figure(result)),
        },
        "first_epochs": reading.first_epochs(result),
        "unrated": sorted({run.rule for run in reading.contenders(result) if "lr" not in run.hypers}),
        "contenders": reading.contenders(result),
        "describe": findings.tried,
        "recipe": _toml(result.winner),
        "equation": equation.equation_mathml(equation.winner_latex(result)),
    }


def figure_data(figure: Any | None) -> str:
    """A figure as JSON that may stand inside a script element."""
    return "" if figure is None else json.dumps(json.loads(figure.to_json())).replace("<", "\\u003c")


def _toml(recipe: dict[str, Any] | None) -> str:
    import tomli_w

    return tomli_w.dumps(_present(recipe)) if recipe else ""


def _present(value: Any) -> Any:
    """Without what TOML cannot say: None."""
    return {k: _present(v) for k, v in value.items() if v is not None} if isinstance(value, dict) else value


def _one_newline(script: str) -> str:
    """As a browser reads it, for the hash is taken after it has made every line end the same."""
    return script.replace("\r\n", "\n").replace("\r", "\n")


def _parts(text: str) -> tuple[str, str]:
    """Mean and half width apart, so that a phone can stack them: "-38 ± 5 %" is ("−38", "± 5 %")."""
    mean, sign, half = text.partition(" ± ")
    mean = f"−{mean[1:]}" if mean.startswith("-") else mean
    return mean, f"± {half}" if sign else ""
