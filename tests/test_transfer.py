"""Transfer: weights from a file, a new head, frozen layers, layers at their own pace; beside torch, and resumed."""

from __future__ import annotations

import io
import os
import pickle
import signal
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

import ravine
from ravine import api, transfer
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.errors import UserError
from ravine.files import digest_of
from ravine.problems import Problem, from_arrays
from ravine.problems.problem import Part
from ravine.racing.outcome import winner_recipe
from ravine.racing.race import Race
from ravine.racing.spec import RaceSpec
from ravine.recipe import Recipe
from ravine.rules.rule import Rule
from ravine.rules.spec import rule_from_spec
from ravine.training.clock import Batches, Clock
from ravine.training.train import Training
from ravine.transfer.spec import Transfer, Transferred
from ravine.transfer.weights import read_weights


def network() -> nn.Sequential:
    # No bias before the normalisation: its gradient is zero but for rounding, which Adam divides by itself.
    return nn.Sequential(
        nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)
    ).double()


def data(rows: int = 48) -> tuple[Tensor, Tensor]:
    x = torch.randn(rows, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return x, (x.sum(1) > 0).long() + (x[:, 0] > 1).long()


def toy(model: Callable[[], nn.Module] = network) -> Problem:
    x, y = data()
    return from_arrays(x.numpy(), y.numpy(), name="toy", task="classification", model=model)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(8)
    module = network()
    module.train()(data()[0])  # statistics that are not those of a new layer
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


# --- The pace of layers, beside torch --------------------------------------------------------------------------------

RULES: dict[str, tuple[dict[str, Any], Callable[[Any], torch.optim.Optimizer], float | None]] = {
    "adam": ({"name": "adam", "lr": 0.02}, lambda groups: torch.optim.Adam(groups, lr=0.02), None),
    "momentum": (
        {"name": "momentum", "lr": 0.05},
        lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9),
        None,
    ),
    "clipped": (
        {"name": "adam", "lr": 0.02, "with": [{"name": "clip-global-norm", "clip": 0.1}]},
        lambda groups: torch.optim.Adam(groups, lr=0.02),
        0.1,
    ),
    "nadam": ({"name": "nadam", "lr": 0.02}, lambda groups: torch.optim.NAdam(groups, lr=0.02), None),
    "decayed": ({"name": "adamw", "lr": 0.02}, lambda groups: torch.optim.AdamW(groups, lr=0.02), None),
}


def by_torch(
    make: Callable[[Any], torch.optim.Optimizer], seed: int, clock: Clock, rates: float, every: int, clip: float | None
) -> list[Tensor]:
    """A plain loop: groups of one layer each, gradients asked for as the epoch has it."""
    x, y = data()
    module = Model(network).load(Model(network).lane(rule_from_spec({"name": "sgd"}), {}, seed)).train()
    layers = [["5.weight", "5.bias"], ["3.weight", "3.bias"], ["0.weight", "1.weight", "1.bias"]]
    named = dict(module.named_parameters())
    optimizer = make([{"params": [named[n] for n in layer]} for layer in layers])
    for below, group in enumerate(optimizer.param_groups):
        group["lr"] *= rates**below
    batches = Batches(clock)
    for step in range(clock.steps):
        epoch, _ = clock.place(step)
        for below, layer in enumerate(layers):
            for name in layer:
                named[name].requires_grad_(epoch >= every * below)
                named[name].grad = None
        index = batches.at([seed], step)[0]
        functional.cross_entropy(module(x[index]), y[index]).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimizer.step()
    return [p.detach() for p in module.parameters()]


@pytest.mark.parametrize(("rates", "every"), [(0.3, 0), (1.0, 2), (0.5, 1)])
@pytest.mark.parametrize("rule", RULES)
def test_lanes_at_their_own_pace_walk_torchs_path(rule: str, rates: float, every: int) -> None:
    spec, make, clip = RULES[rule]
    clock = Clock(48, 16, 5)
    wanted = Transfer(rates=rates if rates < 1 else None, every=every or None)
    model = Model(Transferred(network, wanted))
    seeds = [3, 5]
    x, y = data()
    part = Part(x, y)
    lanes = Lanes(model, functional.cross_entropy, [model.lane(rule_from_spec(spec), {}, seed) for seed in seeds])
    batches = Batches(clock)
    for step in range(clock.steps):
        if step == 7:  # any moment is one to go on from
            lanes = Lanes(model, functional.cross_entropy, lanes.export())
        lanes.step(part, batches.at(seeds, step), clock.time(step))
    for seed, lane in zip(seeds, lanes.export(), strict=True):
        for name, ours, theirs in zip(model.shapes, model.views(lane.weights).values(),
                                      by_torch(make, seed, clock, rates, every, clip), strict=True):  # fmt: skip
            close = 1e-6 if rule == "nadam" else 1e-9  # torch keeps its product of momenta in float32
            assert torch.allclose(ours, theirs, rtol=close, atol=close / 100), name


def rules_without_kernel() -> Rule:
    return rule_from_spec({"name": "adam", "lr": 0.02, "with": [{"name": "centralized"}]})


def test_a_rule_of_whole_tensors_keeps_the_pace_too_and_what_has_not_begun_stays_to_the_bit() -> None:
    model = Model(Transferred(network, Transfer(rates=0.5, every=1)))
    x, y = data()
    part = Part(x, y)
    begin = model.lane(rules_without_kernel(), {}, 1)
    lanes = Lanes(model, functional.cross_entropy, [begin])
    assert lanes.groups[0].shares[0].kernel is None
    lanes.step(part, torch.arange(16)[None], 0.0)
    moved = {n: bool((model.views(lanes.weights[0])[n] != model.views(begin.weights)[n]).any()) for n in model.shapes}
    assert moved == {name: name.startswith("5.") for name in model.shapes}
    for slot in lanes.export()[0].slots.values():
        views = dict(zip(model.shapes, model.places.views(slot), strict=True))
        assert all(bool((view == 0).all()) != name.startswith("5.") for name, view in views.items())
    first = model.views(lanes.weights[0])["3.weight"].clone()
    lanes.step(part, torch.arange(16)[None], 1.0)  # Adam's first step of a layer is its rate, a step of t = 1
    step = (model.views(lanes.weights[0])["3.weight"] - first).abs()
    assert float(step.max()) == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("rule", ["prodigy", "nesterov/look-ahead", "schedule-free-adamw", "lbfgs"])
def test_a_contender_that_cannot_keep_a_pace_says_why(rule: str, narrow: Path) -> None:
    spec = RaceSpec(problem="toy", model="own", rules=[rule], transfer={"from": str(narrow), "layer_rates": 0.5})
    with pytest.raises(UserError, match="layer_rates and unfreeze pace each layer by itself, but"):
        api.start(spec, toy(single))


# --- Freezing --------------------------------------------------------------------------------------------------------


def single() -> nn.Module:
    return network().float()


@pytest.fixture
def narrow(file: Path, tmp_path: Path) -> Path:
    kept = {n: t.float() if t.is_floating_point() else t for n, t in read_weights(file).items()}
    save_file(kept, tmp_path / "narrow.safetensors")
    return tmp_path / "narrow.safetensors"


def trained(
    table: dict[str, Any], folder: Path | None = None, stop: int | None = None, resume: bool = False
) -> Training:
    made = Recipe(problem="toy", model="own", epochs=6, batch=8, rule={"name": "adam", "lr": 0.01}, transfer=table)
    running = Training(made, toy(single), folder)
    if resume and folder is not None:
        running.restore(folder)
    for measured, _ in enumerate(running.run()):
        if measured == stop:
            os.kill(os.getpid(), signal.SIGINT)
    return running


def test_what_is_frozen_stays_to_the_bit_with_its_statistics_and_costs_no_state(narrow: Path) -> None:
    running = trained({"from": str(narrow), "head": "new", "freeze": ["0.*", "1.*"]})
    given, after = read_weights(narrow), running.weights()
    same = {name: torch.equal(after[name], given[name]) for name in given}
    assert same == {name: name[0] in "01" for name in given}
    lane = running.state.lane
    assert lane is not None and all(slot.numel() == 5 * 6 + 5 + 3 * 5 + 3 for slot in lane.slots.values())


def test_a_layer_that_is_not_frozen_follows_its_statistics(narrow: Path) -> None:
    running = trained({"from": str(narrow), "freeze": "0.*"})
    assert not torch.equal(running.weights()["1.running_mean"], read_weights(narrow)["1.running_mean"])


def test_freezing_holds_in_a_loop_of_ones_own_and_can_be_undone() -> None:
    model = network()
    names = transfer.freeze(model, ["0.*", "1.*"])
    assert names == ("0.weight", "1.weight", "1.bias")
    norm = model[1]
    before = {n: t.clone() for n, t in model.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    x, y = data()
    model.train()
    functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    assert all(torch.equal(t, before[n]) == (n[0] in "01") for n, t in model.state_dict().items())
    assert not norm.training and isinstance(norm, nn.BatchNorm1d)
    assert set(transfer.unfreeze(model, "1.*")) == {"1.weight", "1.bias"}
    model.train()
    assert norm.training and type(norm) is nn.BatchNorm1d and not model[0].weight.requires_grad


@pytest.mark.parametrize(
    ("pattern", "words"), [("9.*", "no parameter has such a name"), ("*", "nothing would be left")]
)
def test_a_pattern_that_freezes_nothing_or_all_is_refused(pattern: str, words: str) -> None:
    model = network()
    with pytest.raises(UserError, match=words):
        transfer.freeze(model, pattern)
    assert all(p.requires_grad for p in model.parameters())


# --- The pace in one's own code --------------------------------------------------------------------------------------


def test_gradual_unfreezing_is_a_function_of_the_epoch() -> None:
    model = network()
    schedule = transfer.unfreeze_schedule(model, every=2)
    assert schedule.trained(0) == ("5.weight", "5.bias") and schedule.trained(1.9) == schedule.trained(0)
    assert schedule.trained(2) == ("3.weight", "3.bias", "5.weight", "5.bias")
    assert set(schedule.trained(4)) == {n for n, _ in model.named_parameters()}
    schedule.apply(model, 2)
    assert [p.requires_grad for p in model.parameters()] == [False] * 3 + [True] * 4
    with pytest.raises(UserError, match="give a positive number"):
        transfer.unfreeze_schedule(model, every=0)


def test_layerwise_groups_have_the_rates_of_the_paper() -> None:
    groups = transfer.layerwise_groups(network(), lr=1.0, decay=0.5)
    assert {name: g["lr"] for g in groups for name, _ in g["params"]} == {
        "5.weight": 1.0, "5.bias": 1.0, "3.weight": 0.5, "3.bias": 0.5,
        "0.weight": 0.25, "1.weight": 0.25, "1.bias": 0.25,
    }  # fmt: skip


def test_a_killed_run_of_gradual_unfreezing_resumes_to_the_same_bits(narrow: Path, tmp_path: Path) -> None:
    table = {"from": str(narrow), "head": "new", "layer_rates": 0.5, "unfreeze": {"every": 2}}
    whole = trained(table)
    for stop in (4, 8, 14):
        folder = tmp_path / str(stop)
        trained(table, folder, stop=stop)
        again = trained(table, folder, resume=True)
        assert again.fingerprint() == whole.fingerprint()
        assert again.state.curve == whole.state.curve


# --- Files -----------------------------------------------------------------------------------------------------------


WAS_HERE = f"{tempfile.gettempdir()}/ravine-{os.getpid()}-was-here"


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, (WAS_HERE,)


def packed_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\0" * 10**6)


def half(path: Path) -> None:
    whole = io.BytesIO()
    torch.save(network().state_dict(), whole)
    path.write_bytes(whole.getvalue()[:500])


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda path: None, "no such file"),
    "text": (lambda path: path.write_text("weights"), "neither safetensors nor a torch state_dict"),
    "empty": (lambda path: path.write_bytes(b""), "neither safetensors nor a torch state_dict"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "neither safetensors nor a torch state_dict"),
    "evil": (lambda path: torch.save({"a": Evil()}, path), "which weights_only refuses"),
    "module": (lambda path: torch.save(network(), path), "which weights_only refuses"),
    "numbers": (lambda path: torch.save({"lr": 0.1, "w": torch.zeros(2)}, path), "more than tensors by name"),
    "nothing": (lambda path: torch.save({}, path), "it holds no tensors"),
    "packed": (packed_archive, "an archive that torch.save does not write"),
    "half": (half, "a damaged file of torch's"),
    "header": (lambda path: path.write_bytes((20).to_bytes(8, "little") + b"not json at all, not"), "neither"),
    "torn": (lambda path: path.write_bytes(
        (60).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'.ljust(60)),
        "damaged safetensors"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_no_state_dict_is_refused_and_nothing_runs(case: str, tmp_path: Path) -> None:
    write, words = REFUSED[case]
    write(tmp_path / "w")
    with pytest.raises(UserError, match=words) as caught:
        read_weights(tmp_path / "w")
    assert "\n" not in str(caught.value)
    assert not Path(WAS_HERE).exists()


def test_a_file_larger_than_weights_may_be_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "w").open("wb") as file:
        file.truncate(2**34)  # a hole: it takes no room
    with pytest.raises(UserError, match=r"16.0 GiB is more than"):
        read_weights(tmp_path / "w")


@pytest.mark.parametrize("nest", [None, "state_dict", "model"])
def test_a_torch_state_dict_is_the_same_as_safetensors(nest: str | None, file: Path, tmp_path: Path) -> None:
    weights = read_weights(file)
    torch.save({nest: weights, "epoch": 3} if nest else weights, tmp_path / "w.pt")
    model = network()
    loaded = transfer.load_into(model, tmp_path / "w.pt")
    assert all(torch.equal(t, weights[n]) for n, t in model.state_dict().items())
    assert set(loaded.taken) == set(weights) and not loaded.new


def wider(outputs: int, hidden: int = 5) -> nn.Sequential:
    made = network()
    made[3], made[5] = nn.Linear(6, hidden).double(), nn.Linear(hidden, outputs).double()
    return made


def test_a_new_head_keeps_its_own_draw_and_so_does_what_differs_below_it(file: Path) -> None:
    model = wider(7)
    own = {n: t.clone() for n, t in model.state_dict().items()}
    loaded = transfer.load_into(model, file, head="new")
    assert loaded.new == ("5.weight", "5.bias") and "drawn anew: 5.weight, 5.bias" in str(loaded)
    assert torch.equal(model.state_dict()["5.weight"], own["5.weight"])
    assert torch.equal(model.state_dict()["1.running_mean"], read_weights(file)["1.running_mean"])
    deeper = wider(7, hidden=9)
    assert transfer.load_into(deeper, file, head="new").new == ("3.weight", "3.bias", "5.weight", "5.bias")
    same = network()  # a head whose shape fits is drawn anew too: it was trained for other classes
    assert transfer.load_into(same, file, head="new").new == ("5.weight", "5.bias")


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (lambda: wider(7), {}, r"5.weight is \[3, 5\] in the file and \[7, 5\] in the model"),
        (lambda: nn.Sequential(*network(), nn.Linear(3, 3)), {}, "6.weight is not in the file"),
        (lambda: nn.Sequential(nn.Linear(4, 9)), {"head": "new"}, "gives this model nothing"),
        (lambda: nn.Sequential(*list(network())[:4]), {}, "5.weight is in the file alone"),
        (network, {"prefix": "module."}, "no name begins with 'module.'"),
        (network, {"names": {"encoder.": ""}}, "no name begins with 'encoder.'"),
        (network, {"names": {"0.": "1."}}, "two tensors would have one name"),
        (network, {"head": "fc.*"}, "no tensor of the model has such a name"),
    ],
)
def test_what_does_not_fit_is_named_and_changes_nothing(
    model: Callable[[], nn.Module], options: dict[str, Any], words: str, file: Path
) -> None:
    made = model()
    before = {n: t.clone() for n, t in made.state_dict().items()}
    with pytest.raises(UserError, match=words):
        transfer.load_into(made, file, **options)
    assert all(torch.equal(t, before[n]) for n, t in made.state_dict().items())


def test_names_of_a_file_can_be_mapped(file: Path, tmp_path: Path) -> None:
    renamed = {f"module.body.{name}": tensor for name, tensor in read_weights(file).items()}
    save_file(renamed, tmp_path / "r.safetensors")
    model = network()
    transfer.load_into(model, tmp_path / "r.safetensors", prefix="module.", names={"body.": ""})
    assert torch.equal(model.state_dict()["3.weight"], renamed["module.body.3.weight"])


def test_values_that_are_not_finite_are_refused(file: Path, tmp_path: Path) -> None:
    weights = read_weights(file)
    weights["3.bias"][0] = torch.nan
    save_file(weights, tmp_path / "n.safetensors")
    with pytest.raises(UserError, match=r"3\.bias holds values that are not finite"):
        transfer.load_into(network(), tmp_path / "n.safetensors")


# --- Recipes and races -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "an empty table does nothing"),
        ({"head": "new"}, "head is for weights of a file"),
        ({"frm": "x"}, "did you mean 'from'"),
        ({"from": 3}, "from is a word in quotes"),
        ({"from": "w", "freeze": [1]}, "freeze is a pattern of names"),
        ({"layer_rates": 1.5}, r"in \(0, 1\), got 1.5"),
        ({"unfreeze": 2}, "a whole number of epochs, got 2"),
        ({"unfreeze": {"every": 0}}, "a whole number of epochs"),
        ({"from": "w", "map": ["a"]}, "map is a table of beginnings"),
    ],
)
def test_a_table_that_makes_no_sense_is_one_sentence(table: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Transfer.of(table)


def test_a_race_begins_every_contender_at_the_file_and_its_winner_knows_the_hash(narrow: Path) -> None:
    table = {"from": str(narrow), "head": "new", "freeze": "0.*", "layer_rates": 0.5, "unfreeze": {"every": 1}}
    spec = RaceSpec(
        problem="toy", model="own", rules=["adam", "momentum"], budget=4, epochs=2, seeds=2, transfer=table, lanes=8
    )
    race: Race = api.start(spec, toy(single))
    for _ in race.run():
        pass
    recipe = winner_recipe(race)
    assert recipe is not None and recipe.transfer is not None
    assert recipe.transfer["sha256"] == digest_of(narrow)
    best = [run.best for run in race.runs if run.best is not None]
    weight = read_weights(narrow)["0.weight"]
    assert best and all(torch.equal(lane.buffers["0.weight"], weight) for lane in best)
    save_file({n: t + 1 if t.is_floating_point() else t for n, t in read_weights(narrow).items()}, narrow)
    with pytest.raises(UserError, match="not the weights that the recipe was made with"):
        Training(recipe, toy(single))


# --- Row R17 ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_r17_a_hundred_labels_are_worth_more_after_other_digits(tmp_path: Path) -> None:
    """MNIST in 8x8 teaches what 100 labels of other people's digits then need: transfer beats scratch in every seed."""
    try:
        known = ravine.load("mnist", rows=6000, download=False)
    except UserError as error:
        pytest.skip(f"the 8x8 digits are to be learnt from MNIST: {error}")
    large, labels = (getattr(known.train, which) for which in "xy")
    middle = functional.interpolate(large[..., 4:24, 4:24], (32, 32), mode="bilinear")
    source = Recipe(problem="mnist 8x8", model="mlp:64", epochs=5, batch=64, rule={"name": "adam", "lr": 0.002})
    first = ravine.train(source, (functional.avg_pool2d(middle, 4).numpy(), labels.numpy()))
    save_file(first.weights(), tmp_path / "w.safetensors")
    digits = ravine.load("digits")
    parts = (digits.train, digits.valid, digits.test)
    x, y = (torch.cat([getattr(part, which) for part in parts]).numpy() for which in "xy")
    gains: list[float] = []
    for seed in range(5):
        rows = np.random.default_rng(seed).permutation(len(x))
        few, rest = rows[:100], rows[100:]
        problem = from_arrays(x[few], y[few], name="few", test=(x[rest], y[rest]), every=5)
        gains.append(tuned(problem, seed, tmp_path / "w.safetensors") - tuned(problem, seed, None))
    assert min(gains) > 0 and float(np.mean(gains)) > 0.01, gains


def tuned(problem: Problem, seed: int, file: Path | None) -> float:
    """Test accuracy after 100 labels, from the weights of a file or from a draw."""
    table = {"from": str(file), "head": "new"} if file else None
    rule = {"name": "adam", "lr": 0.003}
    made = Recipe(problem="few", model="mlp:64", epochs=30, batch=16, seed=seed, rule=rule, transfer=table)
    running = Training(made, problem)
    for _ in running.run():
        pass
    return running.test()[1]
