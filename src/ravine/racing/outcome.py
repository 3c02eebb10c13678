"""A race as a plain value, at any time: what the store keeps, the report draws and the user takes home."""

from __future__ import annotations

from ravine.decisions import Pick
from ravine.losses import metric_name
from ravine.made_with import data_digest, versions
from ravine.models import count
from ravine.racing.importance import importance
from ravine.racing.race import Race
from ravine.racing.verdict import verdict
from ravine.recipe import Recipe
from ravine.results import Cost, RaceResult, Searched, Standing
from ravine.rules.interval import Search
from ravine.transfer.spec import pinned


def result_of(race: Race) -> RaceResult:
    """Everything known of the race, ready to be kept."""
    rows = race.standings
    finished = race.phase == "done"
    result = RaceResult(
        id=race.about["id"],
        created=race.about["created"],
        status="finished" if finished else "interrupted",
        command=race.about["command"],
        problem=race.problem.name,
        understood=list(race.problem.understood),
        task=race.problem.task,
        metric_name=metric_name(race.problem),
        model=race.spec.model,
        parameters=count(race.model.module),
        epochs=race.clock.epochs,
        batch=race.clock.batch,
        seeds=[race.spec.seed, *race.setup.fresh],
        rungs=race.rungs_run,
        spaces={rule: {h: _ends(s) for h, s in own.items()} for rule, own in race.space.ranges.items()},
        decisions=_decisions(race),
        notes=race.notes,
        runs=[run.result("finished" if run.tick >= race.clock.ticks else "stopped") for run in race.runs],
        ranking=rows,
        verdict="",
        baselines=race.baselines,
        test=race.test[0] if race.test else None,
        test_loss=race.test[1] if race.test else None,
        winner=_recipe(race, rows[0]).model_dump(exclude_none=True) if rows else None,
        cost=_cost(race),
        versions=_made_with(race),
    )
    over = race.spec.over and (finished or race.interrupted)  # where nothing was asked for, a race takes no longer
    found = importance(result) if over else None
    return result.model_copy(update={"verdict": verdict(result), "importance": found})


def winner_recipe(race: Race) -> Recipe | None:
    """The recipe of the best configuration known, with the first fresh seed if it got that far."""
    rows = race.standings
    return _recipe(race, rows[0]) if rows else None


def _recipe(race: Race, row: Standing) -> Recipe:
    candidate = next(run.candidate for run in race.runs if run.candidate.config == row.config)
    recipe = race.designs.recipe(candidate, race.setup.fresh[0] if row.finalist else race.spec.seed)
    return recipe.model_copy(update={"transfer": pinned(recipe.transfer)})


def _ends(search: Search | Pick) -> tuple[float, float]:
    return (min(search.choices), max(search.choices)) if isinstance(search, Pick) else (search.low, search.high)


def _decisions(race: Race) -> dict[str, Searched]:
    """What was searched besides hyperparameters, and the values that contenders at the defaults have."""
    base = race.designs.base
    return {
        name: Searched(choices=list(search.choices), base=decision.now(base))
        if isinstance(search, Pick)
        else Searched(low=search.low, high=search.high, scale=search.scale, base=decision.now(base))
        for name, (decision, search) in race.space.decisions.items()
    }


def _cost(race: Race) -> Cost:
    return Cost(
        seconds=race.seconds,
        lane_steps=race.lane_steps,
        full_runs=race.lane_steps / race.clock.steps,
        plan=race.plan.words if race.plan else "not measured",
        plan_timings=race.plan.timings if race.plan else {},
    )


def _made_with(race: Race) -> dict[str, str]:
    """What the numbers were made with; the data are hashed once a race."""
    if "data" not in race.about:
        race.about["data"] = data_digest(race.problem)
    return {**versions(), "data": race.about["data"]}
