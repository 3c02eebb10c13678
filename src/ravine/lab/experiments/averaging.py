"""Ensembles (lectures S2, S4): what averaging members gains, and whether the correlation of their errors says so."""

from __future__ import annotations

from typing import final

from ravine.ensembles import EnsembleResult, Members, study
from ravine.lab.build import checks, dots, table
from ravine.lab.experiment import Experiment, Scale, Tell
from ravine.lab.outcome import Verdict
from ravine.lab.report import finding
from ravine.problems import load
from ravine.recipe import Recipe

MEMBERS = 5
CLOSE = 5.0  # per cent between what is measured and the formula
KINDS = {"seeds": "seeds alone", "bagging": "bootstrap samples"}


@final
class Averaging(Experiment):
    """Members of two kinds, averaged."""

    name = "ensembles"
    title = "Ensembles and the correlation of errors"
    rows = ("R18",)
    lecture = "S4, S2 (Goodfellow et al. 2016, equation 7.51)"
    claim = (
        "The squared error of k averaged members is 1/k + (k - 1)/k rho of one member's, with rho the correlation of "
        "their errors; members on bootstrap samples err further apart."
    )
    how = (
        "Five members a repetition, by seeds alone and by bagging. rho comes from the validation part, the errors from "
        "the test part (Brier's score of the probabilities); a repetition is what elsewhere is a seed."
    )
    data = "digits"

    def measure(self, scale: Scale, seeds: int, tell: Tell) -> Verdict:
        """Train and average so many ensembles of each kind."""
        problem = load("digits")
        epochs = 10 if scale == "full" else 3
        found: dict[str, list[EnsembleResult]] = {kind: [] for kind in KINDS}
        for place in range(seeds):
            recipe = Recipe(
                problem="digits", model="mlp:32", epochs=epochs, batch=64, seed=100 * place,
                rule={"name": "adam", "lr": 0.003},
            )  # fmt: skip
            for kind, results in found.items():
                members = Members(recipe, problem, kind, MEMBERS)
                for _ in members.run():
                    pass
                results.append(study(members, test=True))
            tell("ensembles", (place + 1) / seeds)
        return self._verdict(found, len(problem.train), epochs, seeds)

    def _verdict(self, found: dict[str, list[EnsembleResult]], samples: int, epochs: int, seeds: int) -> Verdict:
        named = {KINDS[kind]: results for kind, results in found.items()}
        rho = {name: [float(result.rho or 0.0) for result in results] for name, results in named.items()}
        factor = {name: [result.levels[-1].measured for result in results] for name, results in named.items()}
        off = {name: [100 * abs(result.levels[-1].off) for result in results] for name, results in named.items()}
        single, bagged = named
        limit = [CLOSE] * seeds
        made = checks(
            [
                (f"5 % less how far the measured factor is from the formula (%), {name}", limit, off[name], 0.0)
                for name in named
            ]
            + [(f"rho, {single} less {bagged}", rho[single], rho[bagged], 0.0)]
            + [(f"1 less the factor of {MEMBERS}, {bagged}", [1.0] * seeds, factor[bagged], 0.0)],
            unit="",
        )
        return Verdict(
            name=self.name, title=self.title, claim=self.claim, seeds=seeds, checks=made,
            measured=f"{MEMBERS} members of mlp:32 on digits ({samples:,} to train on), {epochs} epochs of "
            "minibatches of 64, Adam at 0.003.",
            rows=table({"rho": rho, "factor measured": factor, "off the formula (%)": off}),
            charts=[dots(finding("Members' errors", made), "correlation of two members' errors", {"rho": rho})],
        )  # fmt: skip
