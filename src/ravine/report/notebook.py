"""The view in a notebook: a fragment of HTML with a table and a drawing, no script."""

from __future__ import annotations

from html import escape

from ravine.report.findings import failures
from ravine.report.rows import Row, metric, rows
from ravine.report.svg import intervals
from ravine.results import RaceResult

CELL = 'style="text-align:left;padding:0.2em 1em 0.2em 0"'


def notebook(result: RaceResult) -> str:
    """What ``_repr_html_`` of a race returns."""
    test = (
        f"<p>Test {escape(result.metric_name)} (looked at once): {metric(result, result.test)}</p>"
        if result.test
        else ""
    )
    return (
        f'<div class="ravine"><p><strong>{escape(result.verdict)}</strong></p>'
        f"{_table(result)}{intervals(result)}<p>{escape(failures(result))}.</p>{test}</div>"
    )


def _table(result: RaceResult) -> str:
    heads = (
        "rank",
        "rule",
        "learning rate",
        "schedule",
        "validation loss",
        result.metric_name,
        *(result.ranking[0].metrics if result.ranking else ()),
        "tuned against default",
    )
    head = "".join(f'<th scope="col" {CELL}>{escape(text)}</th>' for text in heads)
    body = "".join(_row(row) for row in rows(result))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if body else ""


def _row(row: Row) -> str:
    first = (str(row.standing.rank), row.standing.rule, row.rate, row.standing.schedule)
    cells = (*first, row.loss + (" (tie)" if row.tie else ""), row.metric, *row.further.values(), row.tuned or row.note)
    faded = "" if row.standing.finalist else ' style="opacity:0.65"'
    return f"<tr{faded}>" + "".join(f"<td {CELL}>{escape(cell)}</td>" for cell in cells) + "</tr>"
