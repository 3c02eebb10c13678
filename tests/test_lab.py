"""The lab: arms are the runs of their recipes, verdicts follow by rule, every experiment is found and shown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, ClassVar, final

import pytest
import torch
from torch import nn

from ravine.errors import UserError
from ravine.lab import Experiment, Verdict, catalogue, experiment
from ravine.lab.arms import Arm, best_of, train
from ravine.lab.build import accuracy_curves, checks, dots, table
from ravine.lab.experiment import Scale, Tell
from ravine.lab.experiments.adversarial import fast_gradient_sign, random_sign
from ravine.lab.experiments.corruptions import KINDS, corrupted
from ravine.lab.experiments.regularisers import PUBLISHED, Rate, choices, net
from ravine.lab.experiments.smoothing import surplus
from ravine.lab.outcome import Check, decided
from ravine.lab.page import drawn, write
from ravine.problems import load
from ravine.problems.problem import Part
from ravine.racing.statistics import interval
from ravine.recipe import Recipe, load_recipe
from ravine.training.train import Training

needs_data = pytest.mark.skipif("RAVINE_DATA" not in os.environ, reason="needs Fashion-MNIST: set RAVINE_DATA")
RECIPE = Recipe(problem="digits", model="mlp:16", epochs=3, batch=64, rule={"name": "adam", "lr": 0.01})


@pytest.mark.parametrize("together", [True, False])
def test_an_arm_is_its_recipe_over_the_seeds(together: bool) -> None:
    problem = load("digits")
    told: list[float] = []
    run = train(Arm("small", RECIPE, together=together), problem, [4, 7], told.append)
    for place, seed in enumerate((4, 7)):
        alone = Training(RECIPE.model_copy(update={"seed": seed}), problem)
        list(alone.run())
        assert run.runs[place].curve[-1].valid_loss == pytest.approx(alone.state.curve[-1].valid_loss, rel=1e-4)
    assert told == sorted(told) and told[-1] == 1.0
    expected = [100 * r.curve[-1].metric for r in run.runs]
    assert run.accuracy(problem.valid) == pytest.approx(expected)


def test_a_late_penalty_does_nothing_before_its_time_and_much_after() -> None:
    problem = load("digits")
    strong = RECIPE.model_copy(update={"penalty": [{"name": "l1", "strength": 0.05}]})
    plain, late, early = (
        train(arm, problem, [0, 1])
        for arm in (Arm("none", RECIPE), Arm("late", strong, late=0.5), Arm("early", strong))
    )
    for a, b, c in zip(plain.runs, late.runs, early.runs, strict=True):
        half = len(a.curve) // 2
        assert [p.valid_loss for p in b.curve[: half + 1]] == pytest.approx([p.valid_loss for p in a.curve[: half + 1]])
        assert b.curve[-1].valid_loss > 1.1 * a.curve[-1].valid_loss
        assert c.curve[half].valid_loss > 1.1 * b.curve[half].valid_loss


def test_the_best_arm_is_that_of_the_highest_validation_accuracy() -> None:
    slow, good = RECIPE.model_copy(update={"rule": {"name": "adam", "lr": 1e-5}}), RECIPE
    assert best_of([Arm("slow", slow), Arm("good", good), Arm("again", good)], load("digits"), 0).name == "good"


def test_a_run_that_diverges_ends_the_experiment_in_one_sentence() -> None:
    wild = RECIPE.model_copy(update={"rule": {"name": "sgd", "lr": 1e6}})
    with pytest.raises(UserError, match="wild: the run of seed 0 did not learn"):
        train(Arm("wild", wild), load("digits"), [0])


def test_a_check_needs_its_whole_interval_on_one_side_and_three_seeds() -> None:
    def answer(numbers: list[float], least: float = 0.0) -> str:
        return Check(says="", least=least, found=interval(numbers)).answer

    assert answer([1.0, 1.1, 0.9]) == "yes"
    assert answer([1.0, 1.1, 0.9], least=2.0) == "no"
    assert answer([1.0, -1.0, 3.0]) == "open"
    assert answer([1.0, 1.0]) == "open"
    assert decided(["yes"]) == "holds" and decided(["yes", "no"]) == "holds with limits"
    assert decided(["no", "open"]) == "does not hold" and decided(["open"]) == "not decided"


def test_checks_are_paired_by_seed_and_widened_for_their_number() -> None:
    one, other = [3.0, 13.0, 23.5], [2.0, 12.1, 22.3]  # the seeds differ by far more than the arms
    (alone,) = checks([("a less b", one, other, 0.0)])
    first, _ = checks([("a less b", one, other, 0.0), ("again", one, other, 0.0)])
    assert alone.answer == "yes"
    assert first.found.low < alone.found.low < alone.found.mean == pytest.approx(1.0333, abs=1e-3)


@final
class Tiny(Experiment):
    """On bundled data, for the command line."""

    name: ClassVar[str] = "tiny"
    title: ClassVar[str] = "Width"
    rows: ClassVar[tuple[str, ...]] = ()
    lecture: ClassVar[str] = "none"
    claim: ClassVar[str] = "Sixteen units <are> better than one."
    how: ClassVar[str] = "Trained."
    data: ClassVar[str] = "digits"

    def measure(self, scale: Scale, seeds: int, tell: Tell) -> Verdict:
        problem = load("digits")
        arms = {"1 unit": RECIPE.model_copy(update={"model": "mlp:1"}), "16 units": RECIPE}
        runs = {n: train(Arm(n, r), problem, range(seeds), lambda s, n=n: tell(n, s)) for n, r in arms.items()}
        found = {name: run.accuracy(problem.test) for name, run in runs.items()}
        return Verdict(
            name=self.name, title=self.title, claim=self.claim, measured="mlp on digits", seeds=seeds,
            checks=checks([("16 less 1", found["16 units"], found["1 unit"], 0.0)]), rows=table({"test (%)": found}),
            charts=[dots("Width", "accuracy (%)", {"test": found}), accuracy_curves("Curves", list(runs.values()))],
        )  # fmt: skip


def test_every_experiment_says_what_it_claims_and_how() -> None:
    known = catalogue()
    assert {"practical-1", "practical-2", "mnist-dropout", "tiny"} <= set(known)
    for name, one in known.items():
        assert one.name == name and one.claim.endswith(".") and one.how.endswith(".") and one.title and one.lecture
        assert one.data in ("mnist", "fashion-mnist", "cifar10", "digits") and one.seeds >= 3


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


def test_a_run_from_the_command_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ravine.cli import app

    def ran(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            raise SystemExit(app(list(words), standalone_mode=False) or 0)
        assert not ended.value.code
        return capsys.readouterr().out

    text = ran("lab", "tiny", "--quick")
    assert "Verdict: holds: 1 of 1 checks hold over 3 seeds" in text and "lab-tiny.html" in text
    page = Path("lab-tiny.html").read_text()
    assert "Sixteen units &lt;are&gt; better" in page and "16 less 1" in page and "default-src 'none'" in page
    verdict = Verdict.model_validate_json(ran("lab", "tiny", "--seeds", "3", "--json", "--out", "t.html"))
    assert verdict.word == "holds" and Path("t.html").exists()
    again = experiment("tiny").run("quick", 3)
    assert again.model_copy(update={"seconds": 0}) == verdict.model_copy(update={"seconds": 0})
    assert "mnist-dropout" in ran("lab")
    assert json.loads(ran("lab", "--json"))["practical-2"]["data"] == "fashion-mnist"


def test_charts_keep_names_numbers_and_bars(tmp_path: Path) -> None:
    chart = dots("f", "x", {"test": {"<b>": [1.0, 2.0, 3.0], "c": [2.0, 2.5, 2.0]}})
    (trace,) = drawn(chart).data
    assert list(trace.y) == ["&lt;b&gt;", "c"] and list(trace.x) == pytest.approx([2.0, 13 / 6])
    assert trace.error_x.array[0] == pytest.approx(4.303 / 3**0.5, rel=1e-3)
    verdict = Verdict(
        name="n", title="t", claim="c", measured="m", seeds=3, charts=[chart],
        checks=[Check(says="<script>", found=interval([1.0, 2.0, 1.5]))], rows=table({"a": {"r": [1.0]}}),
    )  # fmt: skip
    assert "&lt;script&gt;" in write(verdict, tmp_path / "v.html").read_text()


def test_fewer_than_three_seeds_are_refused() -> None:
    with pytest.raises(UserError, match="needs 3 or more, got 2"):
        experiment("tiny").run(seeds=2)


def test_the_net_of_the_six_regularisers_differs_by_dropout_alone_and_shows_rates() -> None:
    torch.manual_seed(0)
    x = torch.rand(8, 1, 28, 28)
    plain, dropped = net(False).eval(), net(True)
    dropped.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(plain(x), dropped.eval()(x))
    assert not torch.equal(dropped.train()(x), plain(x))
    assert torch.equal(Rate()(x - 0.5), x - 0.5)
    for name in PUBLISHED:
        for arm in choices(name, 4):
            arm.recipe.check()
            assert len(arm.recipe.penalty) == 1 + name.startswith("L2 +") and (arm.late > 0) == ("late" in name)


def test_row_r15_the_fast_gradient_sign_is_its_equation_and_stays_in_the_box() -> None:
    weight = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    linear = nn.Linear(2, 2, bias=False)
    linear.weight.data = weight
    part = Part(torch.tensor([[0.5, 0.5], [0.05, 0.98]]), torch.tensor([0, 1]))
    moved = fast_gradient_sign(linear, part, 0.1)
    # the loss of class 0 grows along w_1 - w_0 = (-0.5, 5), that of class 1 against it
    assert moved == pytest.approx(torch.tensor([[0.4, 0.6], [0.15, 0.88]]))
    assert bool((random_sign(linear, part, 0.5) >= 0).all())
    assert ((random_sign(linear, Part(part.x[:1], part.y[:1]), 0.1) - part.x[:1]).abs()).allclose(torch.tensor(0.1))


def test_surplus_is_confidence_less_accuracy() -> None:
    class Sure(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[0.0, 20.0]]).expand(len(x), 2)

    assert surplus(Sure(), Part(torch.zeros(4, 1), torch.tensor([1, 1, 0, 0]))) == pytest.approx(50, abs=1e-3)


@needs_data
def test_row_r7_the_published_net_has_its_data_its_noise_and_its_recipe() -> None:
    from ravine.api import prepare
    from ravine.lab.published import mnist

    recipe = load_recipe(Path(__file__).parents[1] / "docs" / "data" / "lab" / "published.toml")
    problem = mnist()
    assert recipe.problem == "ravine.lab.published:mnist" and recipe.rule["with"][0]["name"] == "max-norm"
    assert [len(part) for part in (problem.train, problem.valid, problem.test)] == [55_000, 5000, 10_000]
    assert float(problem.train.x.min()) >= 0 and float(problem.train.x.max()) == pytest.approx(1.0, abs=1e-5)
    assert problem.model is not None
    made = problem.model()
    assert sum(p.numel() for p in made.parameters()) == 784 * 898 + 898 + 898 * 1532 + 1532 + 1532 * 10 + 10
    x = problem.train.x[:4]
    assert not torch.equal(made(x), made(x)) and torch.equal(made.eval()(x), made(x))
    assert prepare(problem, wanted=recipe).train.x is problem.train.x  # pixels stay pixels


@needs_data
def test_row_r23_every_difficulty_changes_the_images_and_no_label() -> None:
    from ravine.lab.data import few

    problem = few("fashion-mnist", 100, 50, 60)
    assert [len(part) for part in (problem.train, problem.valid, problem.test)] == [100, 50, 60]
    for kind in KINDS:
        part: Any = corrupted(problem, kind)
        changed = (part.x != problem.test.x).flatten(1).any(1).float().mean()
        assert torch.equal(part.y, problem.test.y) and changed == (0 if not KINDS[kind] else 1)
        assert torch.equal(part.x, corrupted(problem, kind).x)
