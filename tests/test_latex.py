"""The equations as people will read them."""

from __future__ import annotations

from typing import Any

import pytest
from latex2mathml.converter import convert

from ravine.emit.latex import latex, latex_of_name
from ravine.errors import UserError
from ravine.rules import combine
from ravine.rules.adam import Adam
from ravine.rules.descent import SGD
from ravine.rules.rule import Rule, catalogue, hypers, name_of
from ravine.rules.spec import combinators

COMBINATORS: list[Any] = list(combinators().values())


def clash(outer: Any, rule: Rule) -> bool:
    """Whether a combinator names a hyperparameter as the rule inside does: two numbers cannot share a name."""
    return bool(set(hypers(outer)) & set(hypers(rule)))


RULES: list[Rule] = [rule() for rule in catalogue().values()]
EVERY_RULE = [*RULES, *(outer(rule) for outer in COMBINATORS for rule in RULES[::11] if not clash(outer, rule))]


def label(rule: Rule) -> str:
    return f"{type(rule).__name__}-{name_of(rule)}"


GOLDEN = {
    "adam": [
        r"m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t",
        r"v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2",
        r"w_t = w_{t-1} - \eta \frac{\frac{m_t}{1 - \beta_1^t}}{\sqrt{\frac{v_t}{1 - \beta_2^t}} + \epsilon}",
    ],
    "nadam": [
        r"\mu_t = \beta_1 (1 - 0.5 \cdot 0.96^{t \psi})",
        r"\mu_{t+1} = \beta_1 (1 - 0.5 \cdot 0.96^{(t + 1) \psi})",
        r"q_t = q_{t-1} \mu_t",
        r"m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t",
        r"v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2",
        r"w_t = w_{t-1} - \eta \frac{\frac{1 - \mu_t}{1 - q_t} g_t + \frac{\mu_{t+1}}{1 - q_t \mu_{t+1}} m_t}"
        r"{\sqrt{\frac{v_t}{1 - \beta_2^t}} + \epsilon}",
    ],
    "adadelta": [
        r"v_t = \rho v_{t-1} + (1 - \rho) g_t^2",
        r"d_t = \frac{\sqrt{x_{t-1} + \epsilon}}{\sqrt{v_t + \epsilon}} g_t",
        r"x_t = \rho x_{t-1} + (1 - \rho) d_t^2",
        r"w_t = w_{t-1} - \eta d_t",
    ],
    "adamax": [
        r"m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t",
        r"n_t = \max(\beta_2 n_{t-1}, \left|g_t\right| + \epsilon)",
        r"w_t = w_{t-1} - \eta \frac{\frac{m_t}{1 - \beta_1^t}}{n_t}",
    ],
    "nesterov/look-ahead": [
        r"g_t = \nabla f(w_{t-1} - \beta v_{t-1})",
        r"v_t = \beta v_{t-1} + \eta g_t",
        r"w_t = w_{t-1} - v_t",
    ],
    "momentum/heavy-ball": [
        r"p_0 = w_0",
        r"p_t = w_{t-1}",
        r"w_t = w_{t-1} - \eta g_t + \beta (w_{t-1} - p_{t-1})",
    ],
    "momentum/dampened": [
        r"m_t = \beta m_{t-1} + \left(\begin{cases} 1 - \tau & t > 1 \\ 1 & \text{otherwise} \end{cases}\right) g_t",
        r"w_t = w_{t-1} - \eta m_t",
    ],
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_equation_reads_as_in_the_paper(name: str) -> None:
    assert latex_of_name(name) == GOLDEN[name]


@pytest.mark.parametrize(
    ("rule", "first"),
    [
        (combine.CoupledDecay(SGD()), r"w_t = w_{t-1} - \eta (g_t + \lambda w_{t-1})"),
        (combine.ClipValue(Adam()), r"\tilde{g}_t = \min(\max(g_t, -c), c)"),
        (
            combine.ClipGlobalNorm(Adam()),
            r"\tilde{g}_t = \min\left(\frac{c}{\lVert g_t \rVert + 10^{-6}}, 1\right) g_t",
        ),
        (combine.DecoupledDecay(SGD()), r"w_t = w_{t-1} - \eta g_t - \eta \lambda w_{t-1}"),
    ],
)
def test_a_combinator_shows_what_it_does_to_the_gradient_or_the_weights(rule: Rule, first: str) -> None:
    assert latex(rule)[0] == first


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        (
            combine.MaxNorm(SGD()),
            [r"z_t = w_{t-1} - \eta g_t", r"w_t = \frac{r}{\max(\lVert z_t \rVert_{\text{row}}, r)} z_t"],
        ),
        (
            combine.Averaged(SGD()),
            [
                r"\mathrm{average}_0 = w_0",
                r"w_t = w_{t-1} - \eta g_t",
                r"\mathrm{average}_t = \kappa \mathrm{average}_{t-1} + (1 - \kappa) w_t",
            ],
        ),
    ],
)
def test_what_happens_after_the_step_is_a_line_of_its_own(rule: Rule, lines: list[str]) -> None:
    assert latex(rule) == lines


@pytest.mark.parametrize("rule", EVERY_RULE, ids=label)
def test_every_hyperparameter_occurs_and_every_line_is_mathml(rule: Rule) -> None:
    lines = latex(rule)
    (step,) = (line for line in lines if line.startswith("w_t = "))
    assert step.startswith("w_t = w_{t-1}") or isinstance(rule, combine.MaxNorm)
    for name, declared in hypers(rule).items():
        assert any(declared.symbol in line for line in lines), name
    for line in lines:
        assert line.count("{") == line.count("}")
        assert convert(line).startswith("<math")


def test_an_unknown_rule_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match="nadam"):
        latex_of_name("nadamm")
