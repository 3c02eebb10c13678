"""The sentence above each figure: what its numbers say."""

from __future__ import annotations

import math

from ravine.reading import (
    by_rule,
    contenders,
    envelope,
    finalists,
    first_epochs,
    forgiving,
    good_loss,
    repeats,
    start_loss,
)
from ravine.report.choices import chosen
from ravine.report.numbers import epochs, plain, rate, spread, times
from ravine.results import RaceResult, RunResult, Standing


def words(names: list[str]) -> str:
    """Names as a list in a sentence.

    >>> words(["adam", "nadam", "sgd"])
    'adam, nadam and sgd'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def failures(result: RaceResult) -> str:
    """How many configurations diverged, and where: "4 of 64 diverged: momentum above 0.5, sgd above 1.3"."""
    runs = contenders(result)
    failed = sum(run.status == "diverged" for run in runs)
    if not failed:
        return f"None of {times(len(runs), 'configuration')} diverged"
    places = [f"{rule} {where}" for rule, where in _places(result).items()]
    return f"{failed} of {len(runs)} diverged: {', '.join(places)}"


def _places(result: RaceResult) -> dict[str, str]:
    return {rule: _where(runs) for rule, runs in by_rule(result).items() if _diverged(runs)}


def _diverged(runs: list[RunResult]) -> list[RunResult]:
    return [run for run in runs if run.status == "diverged"]


def _where(runs: list[RunResult]) -> str:
    """Where a rule diverged; "above x" only if everything tried above x did."""
    failed = _diverged(runs)
    rates = [run.hypers["lr"] for run in failed if "lr" in run.hypers]
    if len(rates) < len(failed):
        return times(len(failed), "time")
    alive = [run.hypers["lr"] for run in runs if run.status != "diverged" and "lr" in run.hypers]
    if not alive:
        return "at every learning rate"
    if min(rates) > max(alive):
        return f"above {rate(max(alive))}"
    if max(rates) < min(alive):
        return f"below {rate(min(alive))}"
    if len(rates) <= 2:
        return f"at {words([rate(r) for r in rates])}"
    return f"{len(rates)} times between {rate(min(rates))} and {rate(max(rates))}"


def learning_rates(result: RaceResult) -> str:
    """Which rule forgives the learning rate most, and which the least."""
    rules = by_rule(result)
    if good_loss(result) is None:
        return "No configuration lowered the loss" if rules else "No configuration ran"
    spans = forgiving(result)
    wide = {rule: math.log10(high / low) for rule, (low, high) in spans.items() if high > low}
    tail = "".join(f"; {rule} diverges {where}" for rule, where in list(_places(result).items())[-1:])
    if not wide:
        return f"After {epochs(first_epochs(result))} no rule does well at two neighbouring learning rates{tail}"
    best = max(wide, key=lambda rule: wide[rule])
    low, high = spans[best]
    return f"{best} does well over the widest range of learning rates, {rate(low)} to {rate(high)}{tail}"


def curves(result: RaceResult) -> str:
    """How fast the finalists came down."""
    common = start_loss(result)
    needed: list[tuple[float, str]] = []
    idle: list[str] = []
    for standing in finalists(result):
        mean = [(epoch, band.mean) for epoch, band in envelope(repeats(result, standing))]
        start = mean[0][1] if mean and mean[0][0] == 0 else common
        if start is not None and mean:
            low = min(loss for _, loss in mean)
            if low < start:
                needed.append((next(e for e, loss in mean if loss <= low + 0.1 * (start - low)), standing.rule))
            else:
                idle.append(standing.rule)
    if not (needed or idle):
        return "No finalist ran to its end" if result.runs else "No configuration ran"
    never = f"the mean loss of {words(idle)} never falls" if idle else ""
    if not needed:
        return never.capitalize()
    needed.sort()
    (first, rule), rest = needed[0], needed[1:]
    later = words([f"{name} {epoch:.3g}" for epoch, name in rest])
    text = f"{rule} needs {epochs(first)} for nine tenths of its drop in loss"
    return text + (f", {later}" if rest else "") + (f"; {never}" if never else "")


def _versus(standing: Standing) -> str:
    assert standing.difference is not None
    d = standing.difference
    return f"{standing.rule}'s loss is {spread(d.mean, d.low, d.high)} higher"


def differences(result: RaceResult) -> str:
    """Which finalists are told apart from the winner."""
    others = [standing for standing in finalists(result)[1:] if standing.difference]
    if not others:
        return "Only one finalist: nothing to compare" if finalists(result) else "No finalists to compare"
    winner = finalists(result)[0].rule
    ties, worse = [s.rule for s in others if s.tie], [s for s in others if not s.tie]
    within = f"{words(ties)} {'is' if len(ties) == 1 else 'are'} within noise of {winner}" if ties else ""
    apart = words([_versus(s) for s in worse])
    if not ties:
        return f"{winner} is ahead of every other finalist: {apart}"
    return f"{within}; {apart}" if worse else f"No finalist is told apart: {within}"


def paid(result: RaceResult) -> str:
    """For which rules tuning paid."""
    compared = [standing for standing in finalists(result) if standing.tuning]
    won = [standing.rule for standing in compared if standing.tuning_paid]
    if not compared:
        return ""
    if not won:
        return "Tuning paid for none of the finalists: their defaults do as well."
    return f"Tuning paid for {words(won)}{'' if len(won) < len(compared) else ', every finalist'}."


def tried(run: RunResult) -> str:
    """One configuration in words: its number, hyperparameters, schedule and what became of it."""
    values = ", ".join(f"{name} {rate(value)}" for name, value in run.hypers.items())
    values += f", {chosen(run.choices)}" if run.choices else ""
    end = run.reason or f"{run.status} at epoch {run.curve[-1].epoch:.3g}" if run.curve else run.status
    return f"{run.id} · {run.rule} · {values} · {run.schedule} · loss {plain(run.valid_loss)} · {end}"


def baselines(result: RaceResult) -> str:
    """The best classical model, on the validation and the test part, and the winner's lead over it."""
    found = result.baselines
    if found is None or not found.rows:
        return "" if found is None else found.note
    best = found.rows[0]
    setting = f" ({best.setting})" if best.setting else ""
    text = f"Baselines: best {best.name}{setting}, {result.metric_name} {_share(result, best.valid)} in validation"
    if found.test is not None and found.lead is not None:
        lead = found.lead
        word = "beats it" if lead.low > 0 else "loses to it" if lead.high < 0 else "does not measurably beat it"
        points = 100 if result.task == "classification" else 1
        difference = spread(points * lead.mean, points * lead.low, points * lead.high)
        unit = " points" if result.task == "classification" else ""
        text += f", {_share(result, found.test)} in test; the network {word} (lead {difference}{unit})"
    return f"{text}. {found.note[0].upper()}{found.note[1:]}." if found.note else f"{text}."


def _share(result: RaceResult, value: float) -> str:
    return f"{100 * value:.1f} %" if result.task == "classification" else plain(value)
