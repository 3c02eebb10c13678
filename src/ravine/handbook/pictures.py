"""Pictures of a model's parts for written pages, drawn from the parts themselves: ``[[picture activations]]``."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from ravine.augment import catalogue as steps
from ravine.augment import make
from ravine.blocks.activations import ACTIVATIONS, Maxout, activation_of
from ravine.handbook.lab import drawing
from ravine.handbook.markdown import figure
from ravine.initial import catalogue as initialisers
from ravine.initial import through
from ravine.lab import Chart, Series
from ravine.penalties import Penalty, Projection, part_from_spec

PENALTIES: Mapping[str, dict[str, object]] = {
    "none": {},
    "l2, 0.1": {"name": "l2", "strength": 0.1},
    "l1, 0.1": {"name": "l1", "strength": 0.1},
    "elastic-net, 0.1": {"name": "elastic-net", "strength": 0.1},
    "l1-proximal, 0.1": {"name": "l1-proximal", "strength": 0.1},
    "ball, radius 1.5": {"name": "ball", "radius": 1.5},
    "prune, 0.7": {"name": "prune", "fraction": 0.7},
}
SIDE, ACROSS, GAP, LABEL = 88, 6, 6, 18  # of the sheet of augmentations, in pixels


def activations() -> str:
    """Nonlinearities, and their slopes."""
    z = torch.linspace(-4, 4, 161)
    curves: dict[str, tuple[Tensor, Tensor]] = {}
    for word in (word for word, kind in ACTIVATIONS.items() if kind is not Maxout):  # which sees several numbers
        at = z.clone().requires_grad_()
        out = activation_of(word)()(at)
        (slope,) = torch.autograd.grad(out.sum(), at)
        curves[word] = out.detach(), slope
    return "\n".join(
        _lines(finding, "z", title, z.tolist(), {name: each[place].tolist() for name, each in curves.items()})
        for place, finding, title in (
            (0, "Nonlinearities", "f(z)"),
            (1, "Their slopes: a sigmoid passes on a quarter at most, a ReLU all or nothing", "slope f'(z)"),
        )
    )


def variances() -> str:
    """The deviation after each of ten layers, for every initialiser, before tanh and before ReLU."""
    names = [name for name in initialisers() if name not in ("zeros", "constant")]  # whose outputs have no deviation
    names.insert(names.index("normal") + 1, "normal:std=1")
    drawn: list[str] = []
    for act in ("tanh", "relu"):
        found = {n: [max(-9.0, math.log10(max(s.std, 1e-9))) for s in through(n, act)] for n in names}
        title = f"Before {act}: small weights vanish, large ones {'saturate' if act == 'tanh' else 'explode'}"
        drawn.append(_lines(title, "layer", "log10 of the outputs' deviation", list(range(1, 11)), found))
    return "\n".join(drawn)


def penalties() -> str:
    """The sizes of a linear model's weights after training with each penalty, largest first."""
    draw = torch.Generator().manual_seed(0)
    true = torch.zeros(30)
    true[:6] = torch.tensor([1.5, -1.2, 0.9, -0.7, 0.5, 0.3])
    x = torch.randn(60, 30, generator=draw)
    y = x @ true + 0.5 * torch.randn(60, generator=draw)
    found = {
        name: [math.log10(max(size, 1e-6)) for size in weights_after(x, y, spec)] for name, spec in PENALTIES.items()
    }
    title = (
        "Of 30 inputs 6 matter. L2 and a ball shrink every weight, L1 brings those that do not matter near zero, "
        "what acts after a step to zero"
    )
    words = "log10 of a weight's size; zero is drawn at -6"
    return _lines(title, "weights, the largest first", words, list(range(1, 31)), found)


def weights_after(x: Tensor, y: Tensor, spec: Mapping[str, object], rate: float = 0.05, many: int = 250) -> list[float]:
    """The sizes of a linear model's weights, largest first, after descent on half the squared error and a penalty."""
    model = nn.Linear(x.shape[1], 1, bias=False)
    nn.init.zeros_(model.weight)
    part = part_from_spec(spec) if spec else None
    for _ in range(many):
        loss = ((model(x)[:, 0] - y) ** 2).mean() / 2
        if isinstance(part, Penalty):
            loss = loss + part(model)
        (slope,) = torch.autograd.grad(loss, [model.weight])
        with torch.no_grad():
            model.weight -= rate * slope
        if isinstance(part, Projection):
            part.after(model, rate)
    return model.weight.detach().abs().flatten().sort(descending=True).values.tolist()


def augmentations() -> str:
    """A photograph under each step."""
    x, other = _photograph("flower.jpg"), _photograph("china.jpg")
    cells: list[tuple[str, Tensor]] = [("as it is", x)]
    ids = torch.zeros(1, dtype=torch.long)
    for name, kind in steps().items():
        step = make(
            {"scale-crop": f"scale-crop:{SIDE}:{1.5 * SIDE:g}", "crop": "crop:12", "erase": "erase:p=1"}.get(name, name)
        )
        if step.mixing is not None:
            cells += [(name, step.mixing.mix(x[None], other[None], torch.full((1, kind.draws), 0.35))[0][0])]
            continue
        cells += [(name, step(x[None], ids, seed=seed, epoch=0)[0]) for seed in (1, 2)]
    return figure(
        _sheet(cells), "Each step twice, as two seeds draw it. Photographs: scikit-learn's samples, CC BY 2.0."
    )


def _photograph(name: str) -> Tensor:
    """The middle of one of scikit-learn's photographs, [3, side, side] in [0, 1]."""
    from sklearn.datasets import load_sample_image

    image = Image.fromarray(load_sample_image(name))
    least = min(image.size)
    left, top = (image.width - least) // 2, (image.height - least) // 2
    small = image.crop((left, top, left + least, top + least)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255


def _sheet(cells: Sequence[tuple[str, Tensor]]) -> str:
    rows = -(-len(cells) // ACROSS)
    sheet = Image.new("RGB", (ACROSS * (SIDE + GAP) - GAP, rows * (SIDE + LABEL)), "#ffffff")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for place, (name, x) in enumerate(cells):
        left, top = place % ACROSS * (SIDE + GAP), place // ACROSS * (SIDE + LABEL)
        pixels = (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        sheet.paste(Image.fromarray(pixels), (left, top))
        pen.text((left + SIDE / 2, top + SIDE + LABEL / 2), name, "#1c2330", font, anchor="mm")
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=82)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="Each step of augmentation on a photograph" src="data:image/jpeg;base64,{data}"/>'


def _lines(finding: str, x: str, y: str, at: Sequence[float], found: Mapping[str, Sequence[float]]) -> str:
    series = [Series(name=name, x=list(at), y=list(v), low=list(v), high=list(v)) for name, v in found.items()]
    return drawing(Chart(finding=finding, kind="lines", x=x, y=y, series=series))


PICTURES: Mapping[str, Callable[[], str]] = {
    "activations": activations,
    "variances": variances,
    "penalties": penalties,
    "augmentations": augmentations,
}
