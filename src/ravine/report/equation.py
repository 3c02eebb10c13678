"""The winner's equation, typeset for a browser."""

from __future__ import annotations

from ravine.results import RaceResult


def winner_latex(result: RaceResult) -> str:
    """The equation of the winner, one statement a line; empty where there is no winner or no such rule here."""
    from ravine.emit.latex import latex_of_name
    from ravine.rules.rule import catalogue
    from ravine.solvers.method import catalogue as methods

    if result.ranking and result.ranking[0].rule in methods():
        return "\n".join(methods()[result.ranking[0].rule].latex)
    if not result.ranking or result.ranking[0].rule not in catalogue():
        return ""
    return "\n".join(latex_of_name(result.ranking[0].rule))


def equation_mathml(latex: str) -> str:
    r"""MathML of LaTeX, one block a line.

    >>> "<msub><mi>x</mi><mi>t</mi></msub>" in equation_mathml(r"x_t")
    True
    """
    from latex2mathml.converter import convert

    return "\n".join(convert(line, display="block") for line in latex.splitlines() if line.strip())
