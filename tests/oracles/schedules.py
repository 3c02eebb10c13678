"""Each schedule as its definition says it, for whole steps t, by counting and by exact fractions; nothing of src."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, TypeAlias

Settings: TypeAlias = Mapping[str, Any]  # as a recipe has them


def value(spec: Settings, t: Fraction) -> float:
    """The factor of a schedule, given as the table of a recipe, at time t."""
    return ORACLES[spec["name"]](spec, t)


def exact(number: float) -> Fraction:
    """What was written: 0.2 is a fifth."""
    return Fraction(repr(number))


def power(base: float, exponent: float) -> float:
    """By logarithms, infinite beyond a float."""
    logarithm = exponent * math.log(base) if base else -math.inf
    return math.exp(logarithm) if logarithm < 709.7 else math.inf


def progress(t: Fraction, duration: float) -> float:
    """The part of the duration that is done."""
    return float(min(t / exact(duration), Fraction(1)))


def half_cosine(start: float, end: float, done: float) -> float:
    """From start to end along half a wave."""
    return (start + end) / 2 + (start - end) / 2 * math.cos(math.pi * done)


def constant(s: Settings, t: Fraction) -> float:
    return s["value"]


def step(s: Settings, t: Fraction) -> float:
    drops = 0
    while exact(s["every"]) * (drops + 1) <= t:
        drops += 1
    return power(s["factor"], drops)


def multi_step(s: Settings, t: Fraction) -> float:
    factor = 1.0
    for milestone in s["milestones"]:
        factor *= s["factor"] if t >= exact(milestone) else 1.0
    return factor


def exponential(s: Settings, t: Fraction) -> float:
    return power(s["factor"], float(t))


def inverse_time(s: Settings, t: Fraction) -> float:
    return float(1 / (1 + exact(s["decay"]) * t))


def polynomial(s: Settings, t: Fraction) -> float:
    left = 1 - progress(t, s["duration"])
    return s["end"] + (1 - s["end"]) * power(left, s["power"])


def linear(s: Settings, t: Fraction) -> float:
    return s["start"] + (s["end"] - s["start"]) * progress(t, s["duration"])


def cosine(s: Settings, t: Fraction) -> float:
    return half_cosine(s["start"], s["end"], progress(t, s["duration"]))


def cosine_restarts(s: Settings, t: Fraction) -> float:
    length = exact(s["first"])
    while t >= length:  # cycle after cycle
        t -= length
        length *= exact(s["growth"])
    return half_cosine(1.0, s["end"], float(t / length))


def triangle(height: Callable[[Settings, Fraction, int], float]) -> Callable[[Settings, Fraction], float]:
    def walked(s: Settings, t: Fraction) -> float:
        up, down = exact(s["up"]), exact(s.get("down", s["up"]))
        left, cycle = t, 0
        while left >= up + down:
            left -= up + down
            cycle += 1
        climbed = left / up if left <= up else (up + down - left) / down
        return s["low"] + (s["high"] - s["low"]) * float(climbed) * height(s, t, cycle)

    return walked


def one_cycle(s: Settings, t: Fraction) -> float:
    first, last = 1 / s["div"], 1 / s["div"] / s["final_div"]
    return along(s, t, (first, 1.0, first, last) if s["three_phase"] else (first, 1.0, last))


def one_cycle_momentum(s: Settings, t: Fraction) -> float:
    return along(s, t, (1.0, s["low"], 1.0, 1.0) if s["three_phase"] else (1.0, s["low"], 1.0))


def along(s: Settings, t: Fraction, values: tuple[float, ...]) -> float:
    duration, rise, tick = (exact(s[name]) for name in ("duration", "pct_start", "tick"))
    ends = [rise * duration - tick, duration - tick]
    if s["three_phase"]:
        ends.insert(1, 2 * rise * duration - 2 * tick)
    begin = Fraction(0)
    for phase, end in enumerate(ends):
        if t <= end:
            done = float((t - begin) / (end - begin)) if end > begin else 1.0
            start, stop = values[phase : phase + 2]
            return half_cosine(start, stop, done) if s["anneal"] == "cos" else start + (stop - start) * done
        begin = end
    return values[-1]


def warmup_stable_decay(s: Settings, t: Fraction) -> float:
    done = min(t / exact(s["duration"]), Fraction(1))
    rise, fall = exact(s["warmup"]), exact(s["decay"])
    if done < rise:
        return s["start"] + (1 - s["start"]) * float(done / rise)
    if done <= 1 - fall:
        return 1.0
    fallen = float((done - (1 - fall)) / fall)
    if s["shape"] == "cos":
        return half_cosine(1.0, s["end"], fallen)
    return 1 - (1 - s["end"]) * (math.sqrt(fallen) if s["shape"] == "sqrt" else fallen)


def product(s: Settings, t: Fraction) -> float:
    return math.prod(value(part, t) for part in s["parts"])


def sequence(s: Settings, t: Fraction) -> float:
    begin, place = Fraction(0), 0
    while place < len(s["until"]) and exact(s["until"][place]) <= t:
        begin = exact(s["until"][place])
        place += 1
    return value(s["parts"][place], t - begin)


def warm_up(s: Settings, t: Fraction) -> float:
    duration = exact(s["duration"])
    ramp = s["start"] + (1 - s["start"]) * float(t / duration) if t < duration else 1.0
    return ramp * value(s["then"], t if s["overlay"] else max(t - duration, Fraction(0)))


ORACLES: dict[str, Callable[[Settings, Fraction], float]] = {
    "constant": constant, "step": step, "multi-step": multi_step, "exponential": exponential, "linear": linear,
    "inverse-time": inverse_time, "polynomial": polynomial, "cosine": cosine, "cosine-restarts": cosine_restarts,
    "triangular": triangle(lambda s, t, cycle: 1.0),
    "triangular2": triangle(lambda s, t, cycle: 1 / 2**cycle),
    "exp-range": triangle(lambda s, t, cycle: power(s["gamma"], float(t))),
    "one-cycle": one_cycle, "one-cycle-momentum": one_cycle_momentum, "warmup-stable-decay": warmup_stable_decay,
    "product": product, "sequence": sequence, "warm-up": warm_up,
}  # fmt: skip
