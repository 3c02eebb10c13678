"""The lectures' claims on layers (rows N1, N3 to N6, N11), each measured."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ravine.blocks import (
    ACTIVATIONS,
    LSTM,
    RNN,
    Attention,
    Autoencoder,
    Maxout,
    RMSNorm,
    Swish,
    mlp,
    norm_layer,
    resmlp,
)
from ravine.initial import init_

F64 = torch.float64


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def normalised(x: Tensor, g: Tensor, over: list[int], eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """The lectures' equations by hand: x^ = (x - mu) / sqrt(s^2 + eps), and the gradient in x of sum(g x^)."""
    mean = x.mean(over, keepdim=True)
    root = ((x - mean).square().mean(over, keepdim=True) + eps).sqrt()
    hat = (x - mean) / root
    back = (g - g.mean(over, keepdim=True) - hat * (g * hat).mean(over, keepdim=True)) / root
    return hat, back


CASES: dict[str, tuple[str, list[int]]] = {  # the norm, and the dimensions of [n, groups, c / groups, h, w]
    "batch": ("batch", [0, 3, 4]),
    "layer": ("layer", [1, 2, 3, 4]),
    "group": ("group:3", [2, 3, 4]),
    "instance": ("instance", [3, 4]),
}


@pytest.mark.parametrize("name", CASES)
def test_n1_n3_a_norm_is_its_equation_forward_and_backward(name: str) -> None:
    word, over = CASES[name]
    made = norm_layer(word, 6).double()
    gamma, beta = drawn(6, seed=1), drawn(6, seed=2)
    made.load_state_dict({"weight": gamma, "bias": beta}, strict=False)
    x, up = drawn(5, 6, 4, 3).mul(3).add(1).requires_grad_(), drawn(5, 6, 4, 3, seed=3)
    out = made(x)
    (got,) = torch.autograd.grad(out, x, up)
    per_channel = (1, 6, 1, 1)
    split = (5, 3, 2, 4, 3)
    hat, want = normalised(x.detach().view(split), (up * gamma.view(per_channel)).view(split), over)
    torch.testing.assert_close(
        out.detach(), hat.reshape(5, 6, 4, 3) * gamma.view(per_channel) + beta.view(per_channel), rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(got, want.reshape(5, 6, 4, 3), rtol=1e-6, atol=1e-6)


def test_n3_rms_norm_is_torchs_where_both_mean_the_same() -> None:
    ours, theirs = RMSNorm(6, eps=1e-5).double(), nn.RMSNorm(6, eps=1e-5).double()
    x = drawn(5, 6).requires_grad_()
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-10)
    a, b = (torch.autograd.grad(m(x), x, drawn(5, 6, seed=1))[0] for m in (ours, theirs))
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    image = drawn(2, 6, 3, 3)
    assert float(ours(image)[0].detach().square().mean()) == pytest.approx(1.0, rel=1e-4)


def test_n1_running_statistics_at_test_and_the_identity_recovered() -> None:
    norm = norm_layer("batch", 4, "features").double()
    x = 3 * drawn(50, 4) + 2
    for _ in range(200):
        norm(x)
    norm.eval()
    mean, var = x.mean(0), x.var(0)
    torch.testing.assert_close(norm(x), (x - mean) / (var + 1e-5).sqrt(), rtol=1e-6, atol=1e-6)
    norm.load_state_dict({**norm.state_dict(), "weight": (var + 1e-5).sqrt(), "bias": mean})
    torch.testing.assert_close(norm(x), x, rtol=1e-6, atol=1e-6)  # gamma = sqrt(Var), beta = E


def test_n1_a_bias_before_batch_norm_is_left_out_for_it_would_do_nothing() -> None:
    before = [m for m in mlp([4, 5, 3], norm="batch") if isinstance(m, nn.Linear)]
    after = [m for m in mlp([4, 5, 3], norm="batch", place="after") if isinstance(m, nn.Linear)]
    assert before[0].bias is None and before[1].bias is not None and after[0].bias is not None  # pyright: ignore[reportUnnecessaryComparison]


def rate_that_diverges(norm: str) -> float:
    """The largest learning rate, of powers of two, at which plain descent ends below where it began."""
    x = drawn(64, 10).float()
    y = (x[:, :3] * x[:, 3:6]).argmax(1)
    stable = 0.0
    for power in range(-6, 9):
        made = mlp([10, *[32] * 6, 3], norm=norm)
        init_(made, "he")
        optimizer = torch.optim.SGD(made.parameters(), lr=2.0**power)
        losses: list[float] = []
        for _ in range(25):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(made(x), y)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        if math.isfinite(losses[-1]) and losses[-1] < losses[0]:
            stable = 2.0**power
    return stable


def test_n1_batch_norm_allows_five_times_the_rate() -> None:
    assert rate_that_diverges("batch") >= 5 * rate_that_diverges("none")


POINTS = torch.linspace(-3, 3, 24, dtype=F64)  # none is 0, where some of them bend
SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda x: torch.sigmoid(x) * (1 - torch.sigmoid(x)),
    "tanh": lambda x: 1 - torch.tanh(x) ** 2,
    "relu": lambda x: (x > 0).to(F64),
    "leaky-relu": lambda x: torch.where(x > 0, 1.0, 0.01),
    "prelu": lambda x: torch.where(x > 0, 1.0, 0.25),
    "elu": lambda x: torch.where(x > 0, 1.0, x.exp()),
    "softplus": lambda x: torch.sigmoid(x),
    "silu": lambda x: torch.sigmoid(x) * (1 + x * (1 - torch.sigmoid(x))),
    "swish": lambda x: torch.sigmoid(x) * (1 + x * (1 - torch.sigmoid(x))),
    "gelu": lambda x: torch.special.ndtr(x) + x * torch.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    "identity": torch.ones_like,
}


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "maxout"])
def test_n4_the_derivative_is_the_lectures(name: str) -> None:
    made = ACTIVATIONS[name]().double()
    x = POINTS.clone().requires_grad_()
    assert torch.autograd.gradcheck(made, (x,))
    (slope,) = torch.autograd.grad(made(x).sum(), x)
    torch.testing.assert_close(slope, SLOPES[name](x.detach()), rtol=1e-6, atol=1e-6, check_dtype=False)


def test_n4_maxout_swish_and_tanh() -> None:
    x = drawn(4, 6).requires_grad_()
    assert torch.autograd.gradcheck(Maxout(3), (x,))
    assert torch.equal(Maxout(3)(x), torch.stack([x[:, :3].amax(1), x[:, 3:].amax(1)], 1))
    torch.testing.assert_close(torch.tanh(x), 2 * torch.sigmoid(2 * x) - 1)
    swish = Swish(1.7).double()
    assert torch.autograd.gradcheck(lambda x, beta: x * torch.sigmoid(beta * x), (x, swish.beta))
    torch.testing.assert_close(Swish(1e4).double()(x), x.relu(), rtol=1e-6, atol=1e-6)  # beta to infinity: ReLU


@pytest.mark.parametrize(("activation", "agree"), [("sigmoid", 1.0), ("relu", 1.0), ("tanh", 0.5)])
def test_n5_inputs_of_one_sign_move_all_weights_of_a_unit_one_way(activation: str, agree: float) -> None:
    hidden = ACTIVATIONS[activation]()(drawn(200, 50))
    unit = nn.Linear(50, 1, dtype=F64)
    init_(unit, "lecun")
    shares: list[float] = []
    for sample in hidden:
        unit.zero_grad()
        (unit(sample) - 3).square().sum().backward()
        assert unit.weight.grad is not None
        signs = unit.weight.grad[0][unit.weight.grad[0] != 0].sign()
        shares.append(float(max((signs > 0).double().mean(), (signs < 0).double().mean())))
    if agree == 1.0:
        assert min(shares) == 1.0
    else:
        assert sum(shares) / len(shares) < 0.65


def test_n6_a_deep_linear_net_is_one_matrix_of_the_rank_of_its_narrowest() -> None:
    made = mlp([7, 9, 3, 8, 6], nn.Identity).double()
    x = drawn(20, 7)
    linears = [m for m in made if isinstance(m, nn.Linear)]
    whole, shift = torch.eye(7, dtype=F64), torch.zeros(7, dtype=F64)
    for layer in linears:
        whole, shift = layer.weight @ whole, layer.weight @ shift + layer.bias
    torch.testing.assert_close(made(x), x @ whole.T + shift, rtol=1e-6, atol=1e-6)
    assert int(torch.linalg.matrix_rank(whole.detach())) == 3


def test_n6_a_linear_autoencoder_finds_the_principal_subspace() -> None:
    x = (
        drawn(200, 6)
        * torch.tensor([3.0, 2.0, 0.5, 0.4, 0.3, 0.2], dtype=F64)
        @ torch.linalg.qr(drawn(6, 6, seed=1))[0]
    )
    x = x - x.mean(0)
    made = Autoencoder([6, 2], activation=nn.Identity).double()
    init_(made, "xavier", seed=1)
    optimizer = torch.optim.LBFGS(made.parameters(), max_iter=300, tolerance_grad=1e-12, tolerance_change=1e-16)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (made(x) - x).square().sum(1).mean()
        loss.backward()
        return loss

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]  # torch's type says float
    principal = torch.linalg.svd(x).Vh[:2].T
    found = torch.linalg.qr(made.decode.get_parameter("1.weight").detach())[0]
    cosines = torch.linalg.svdvals(principal.T @ found).clamp(max=1)
    assert float(torch.arccos(cosines).max()) < 1e-3


def first_gradient(skip: bool) -> float:
    made = resmlp((8, 32, 3), 50, nn.Tanh, skip=skip)
    init_(made, "normal:std=0.1")
    x = drawn(30, 8).float()
    nn.functional.cross_entropy(made(x), torch.arange(30) % 3).backward()
    first = made[1]
    assert isinstance(first, nn.Linear) and first.weight.grad is not None
    return float(first.weight.grad.norm())


def test_n11_a_skip_connection_keeps_the_gradient_through_fifty_layers() -> None:
    assert first_gradient(skip=False) < 1e-9
    assert 1e-3 < first_gradient(skip=True) < 1e3


def test_n11_the_gradient_of_a_quadratic_form() -> None:
    a, x = drawn(5, 5), drawn(5, seed=1).requires_grad_()
    (got,) = torch.autograd.grad(x @ a @ x, x)
    torch.testing.assert_close(got, ((a + a.T) @ x).detach())


def test_the_lstm_the_rnn_and_attention_are_torchs() -> None:
    x = drawn(3, 7, 5)
    ours, theirs = LSTM(5, 4).double(), nn.LSTM(5, 4, batch_first=True).double()
    bias = ours.inputs.bias.detach().clone()
    bias[4:8] += 1  # the forget gate begins open
    state = {"weight_ih_l0": ours.inputs.weight, "weight_hh_l0": ours.hidden.weight, "bias_ih_l0": bias}
    theirs.load_state_dict({**state, "bias_hh_l0": torch.zeros(16)})
    torch.testing.assert_close(ours(x), theirs(x)[0], rtol=1e-10, atol=1e-10)
    rnn, plain = RNN(5, 4).double(), nn.RNN(5, 4, batch_first=True).double()
    state = {"weight_ih_l0": rnn.inputs.weight, "weight_hh_l0": rnn.hidden.weight, "bias_ih_l0": rnn.inputs.bias}
    plain.load_state_dict({**state, "bias_hh_l0": torch.zeros(4)})
    torch.testing.assert_close(rnn(x), plain(x)[0], rtol=1e-10, atol=1e-10)
    mine, heads = Attention(8, 2).double(), nn.MultiheadAttention(8, 2, batch_first=True).double()
    state = {"in_proj_weight": mine.inputs.weight, "in_proj_bias": mine.inputs.bias}
    heads.load_state_dict({**state, "out_proj.weight": mine.out.weight, "out_proj.bias": mine.out.bias})
    z = drawn(3, 7, 8)
    torch.testing.assert_close(mine(z), heads(z, z, z)[0], rtol=1e-10, atol=1e-10)


def loss_after(norm: str, std: float) -> float:
    """The loss of plain descent after 40 steps, from weights of that deviation."""
    x = drawn(64, 10).float()
    y = (x[:, :3] * x[:, 3:6]).argmax(1)
    made = mlp([10, *[32] * 6, 3], norm=norm)
    init_(made, f"normal:std={std}")
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(made(x), y).backward()
        optimizer.step()
    return float(nn.functional.cross_entropy(made(x), y).detach())


def test_n1_batch_norm_makes_the_scale_of_the_weights_matter_less() -> None:
    plain, batch = ([loss_after(norm, std) for std in (0.02, 0.25, 0.5)] for norm in ("none", "batch"))
    assert max(batch) < 0.2
    assert plain[0] > 1 and plain[1] < 0.9  # about ln 3: it has not begun to learn; He's deviation has
    assert not plain[2] < 1  # it diverged


def test_n3_group_norm_does_not_care_for_the_size_of_the_batch() -> None:
    """What batch norm makes of a sample depends on the one beside it; what group norm makes does not."""
    x = drawn(64, 8, 4, 4)
    gaps: dict[str, float] = {}
    for word in ("batch", "group:2"):
        norm = norm_layer(word, 8).double()
        whole = norm(x).detach()
        pairs = torch.cat([norm(pair).detach() for pair in x.split(2)])
        gaps[word] = float((pairs - whole).square().mean().sqrt())
    assert gaps["group:2"] < 1e-12 and gaps["batch"] > 0.1
