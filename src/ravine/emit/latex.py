r"""A rule's equation typeset: one line of LaTeX a statement, from the trace, in the letters of the rule's author."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from ravine.emit.tex import ATOM, GREEK, POWER, PRODUCT, SUM, Text, bracketed, letter, number, sum_of
from ravine.emit.trace import Program, reach, trace
from ravine.rules.rule import Rule, hypers, resolve


def latex(rule: Rule) -> list[str]:
    r"""One line for each intermediate result, new slot and scalar, and for the weights; first the gradient's own.

    >>> from ravine.rules.descent import Momentum
    >>> latex(Momentum())
    ['m_t = \\beta m_{t-1} + g_t', 'w_t = w_{t-1} - \\eta m_t']
    """
    return _Printer(trace(rule)).lines()


def latex_of_name(name: str) -> list[str]:
    """The equation of a rule of the catalogue."""
    return latex(resolve(name)())


NEEDS = {
    "norm": r"\lVert g_t^{\text{tensor}} \rVert",
    "global_norm": r"\lVert g_t \rVert",
    "first_gradient": r"\nabla f(w_{t-1})",
    "first_norm": r"\lVert \nabla f(w_{t-1}) \rVert",
    "noise": r"\xi_t",
}


@dataclass
class _Printer:
    program: Program
    symbols: dict[int, str] = field(default_factory=dict[int, str])

    def lines(self) -> list[str]:
        """Every statement, in the order of the arithmetic."""
        p = self.program
        states = {**p.slots, **p.scalars}
        new = {index: f"{letter(name)}_t" for name, index in states.items() if p.ops[index].args}
        known = any(p.weights in p.ops[index].args for index in reach(p.ops, tuple(states.values())))  # by a state
        given = {**self._intermediate(set(new)), **new, **({p.weights: "w_t"} if known else {})}
        self.symbols = given
        lines = [self._statement(index, symbol) for index, symbol in sorted(given.items())]
        for name, index in states.items():
            if given.get(index) != f"{letter(name)}_t":
                lines.append(f"{letter(name)}_t = {self._print(index).within(SUM)}")
        weights = [] if known else ["w_t = " + self._print(p.weights).within(SUM)]
        return [*self._gradient(), *self._starts(), *lines, *weights]

    def _statement(self, index: int, symbol: str) -> str:
        self.symbols = {k: v for k, v in self.symbols.items() if k != index}
        text = self._print(index).within(SUM)
        self.symbols[index] = symbol
        return f"{symbol} = {text}"

    def _gradient(self) -> list[str]:
        point = self._print(self.program.ahead)
        return [r"g_t = \nabla f" + bracketed(point.within(SUM))] if point.binds < ATOM else []

    def _starts(self) -> list[str]:
        lines: list[str] = []
        for name, index in self.program.starts.items():
            left, right = f"{letter(name)}_0", self._start(index)
            if right != "0":
                lines.append(rf"{left} \text{{ given}}" if left == right else f"{left} = {right}")
        return lines

    def _start(self, index: int) -> str:
        op = self.program.ops[index]
        if op.kind == "add":  # zeros of the right shape, plus a number
            parts = [text for text in map(self._start, op.args) if text != "0"]
            return " + ".join(parts) or "0"
        return "w_0" if op.kind == "w" else self._print(index).within(SUM)

    def _intermediate(self, states: set[int]) -> dict[int, str]:
        """Symbols for what the author named and used more than once, or gave to a function of whole tensors."""
        p = self.program
        used = [p.ops[index] for index in reach(p.ops, (p.weights, *p.slots.values(), *p.scalars.values()))]
        uses = Counter(arg for op in used for arg in op.args * (2 if op.kind == "opaque" else 1))
        taken = {*p.slots, *p.scalars, "g", "w", "t", "u"}
        found: dict[int, str] = {}
        for index, name in sorted(p.names.items()):
            if p.ops[index].args and index not in states and uses[index] > 1:
                symbol = self._symbol(name, index, taken)
                if symbol:
                    found[index] = symbol
        return found

    def _symbol(self, name: str, index: int, taken: set[str]) -> str | None:
        if name == "g":
            tilde = r"\tilde{g}_t"
            symbol = rf"\tilde{{{tilde}}}" if tilde in taken else tilde
            taken.add(symbol)
            return symbol
        stem, _, ahead = name.partition("_")
        short = stem if len(stem) == 1 or GREEK.fullmatch(stem) else stem[0]
        if short + ahead in taken:
            return None
        taken.add(short + ahead)
        return letter(short) + ("_{t+1}" if ahead == "next" else "_t")

    def _print(self, index: int) -> Text:
        if index in self.symbols:
            return Text(self.symbols[index])
        op = self.program.ops[index]
        if op.kind == "number":
            return Text(number(abs(op.number)), negative=op.number < 0)
        if not op.args:
            return Text(self._leaf(index))
        if op.kind in ("add", "sub"):
            return self._sum(index)
        if op.kind in ("mul", "div", "neg"):
            return self._minimum(index) or self._product(index)
        if op.kind == "pow":
            base, exponent = (self._print(arg) for arg in op.args)
            above = exponent.within(SUM)
            return Text(f"{base.within(ATOM)}^{above if len(above) == 1 else f'{{{above}}}'}", POWER)
        if op.kind == "sum":
            return Text(rf"\sum {self._print(op.args[0]).within(PRODUCT)}", PRODUCT)
        args = [self._print(arg).within(SUM) for arg in op.args]
        if op.kind == "opaque":
            return _opaque(op.name, args)
        return Text(self._function(op.kind, args), SUM if op.kind == "where" else ATOM)

    def _function(self, kind: str, args: list[str]) -> str:
        relations = {"gt": ">", "ge": r"\ge", "lt": "<", "le": r"\le"}
        if kind in relations:
            return f"{args[0]} {relations[kind]} {args[1]}"
        if kind == "where":
            return rf"\begin{{cases}} {args[1]} & {args[0]} \\ {args[2]} & \text{{otherwise}} \end{{cases}}"
        if kind == "abs":
            return rf"\left|{args[0]}\right|"
        if kind == "mod":
            return rf"{args[0]} \bmod {args[1]}"
        if kind == "log":
            return rf"\ln{bracketed(args[0])}"
        if kind == "sqrt":
            return rf"\sqrt{{{args[0]}}}"
        if kind == "row_norm":
            return rf"\lVert {args[0]} \rVert_{{\text{{row}}}}"
        if kind == "row_mean":
            return rf"\overline{{{args[0]}}}^{{\text{{row}}}}"
        return {"max": r"\max", "sign": r"\operatorname{sign}"}[kind] + bracketed(", ".join(args))

    def _leaf(self, index: int) -> str:
        op = self.program.ops[index]
        if op.kind == "hyper":
            return hypers(self.program.rule)[op.name].symbol
        if op.kind in ("need", "array"):
            return NEEDS[op.name]
        if op.kind in ("slot", "scalar"):
            return f"{letter(op.name)}_{{t-1}}"
        return {"g": "g_t", "w": "w_{t-1}", "t": "t"}[op.kind]

    def _sum(self, index: int) -> Text:
        return sum_of(self._terms(index, False))

    def _terms(self, index: int, minus: bool) -> list[tuple[Text, bool]]:
        op = self.program.ops[index]
        if index not in self.symbols and op.kind in ("add", "sub"):
            left, right = op.args
            return self._terms(left, minus) + self._terms(right, minus != (op.kind == "sub"))
        if index not in self.symbols and op.kind == "neg" and not self._minimum(index):
            return self._terms(op.args[0], not minus)
        return [(self._print(index), minus)]

    def _minimum(self, index: int) -> Text | None:
        """The minimum, which rules write as -max(-x, -y)."""
        ops, op = self.program.ops, self.program.ops[index]
        largest = ops[op.args[0]] if op.kind == "neg" else op
        if largest.kind != "max" or largest is op:
            return None
        args = [self._print(arg) for arg in largest.args]
        if not all(arg.negative for arg in args):
            return None
        return Text(r"\min" + bracketed(f"{args[0].text}, {args[1].text}"))

    def _product(self, index: int) -> Text:
        op = self.program.ops[index]
        if op.kind != "div":
            factors, negative = self._factors(index)
            return self._times(factors, negative)
        above, negative = self._factors(op.args[0])
        below, below_negative = self._factors(op.args[1])
        first = next((i for i, factor in enumerate(above) if not self.program.ops[factor].host), 0)
        front = above[:first] if len(above) > first else []
        top, bottom = self._times(above[len(front) :], False), self._times(below, False)
        fraction = rf"\frac{{{top.within(SUM)}}}{{{bottom.within(SUM)}}}"
        text = f"{self._times(front, False).within(PRODUCT)} {fraction}" if front else fraction
        return Text(text, PRODUCT, negative != below_negative)

    def _factors(self, index: int) -> tuple[list[int], bool]:
        """The factors of a product in order, and whether a minus stands before it."""
        op = self.program.ops[index]
        if index in self.symbols or self._minimum(index):
            return [index], False
        if op.kind == "mul":
            left, minus = self._factors(op.args[0])
            right, other = self._factors(op.args[1])
            return left + right, minus != other
        if op.kind == "neg":
            factors, minus = self._factors(op.args[0])
            return factors, not minus
        return [index], False

    def _times(self, factors: list[int], negative: bool) -> Text:
        texts: list[str] = []
        for factor, count in Counter(factors).items():
            printed = self._print(factor)
            negative ^= printed.negative and count % 2 == 1
            if len(factors) == 1 and not negative:
                return printed.bare()
            bare = printed.bare()
            texts.append(f"{bare.within(ATOM)}^{count}" if count > 1 else bare.within(PRODUCT))
        text = texts[0]
        for following in texts[1:]:
            glue = r" \cdot " if following[0].isdigit() and text[-1].isdigit() else " "
            text += glue + following
        return Text(text, PRODUCT, negative)


def _opaque(tex: str, args: list[str]) -> Text:
    """The typeset call of a function that the trace did not look into."""
    product = tex.startswith("#")  # juxtaposed factors, as in Q^T G Q
    for place, arg in enumerate(args, 1):
        bare = len(arg) == 1 or re.fullmatch(r"\\?\w+(_(\w|{[^{}]*}))?", arg)
        tex = tex.replace(f"(#{place})", bracketed(arg)).replace(
            f"#{place}", arg if bare or not product else bracketed(arg)
        )
    return Text(tex, PRODUCT if product else ATOM)
