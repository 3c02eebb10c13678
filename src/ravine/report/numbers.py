"""How a number is written: never more digits than its spread allows, always with its unit."""

from __future__ import annotations

import math

NOTHING = "–"  # what stands where there is no number


def _decimals(half: float) -> int:
    """Decimal places that a half width allows: one significant digit, two when it begins with 1."""
    exponent = math.floor(math.log10(half))
    return -exponent + (1 if round(half / 10.0**exponent, 1) < 2 else 0)


def plain(number: float | None, digits: int = 3) -> str:
    """A number without a spread, to three significant digits.

    >>> plain(0.12345), plain(12.0), plain(2.4e-7), plain(123456.0), plain(None)
    ('0.123', '12', '2.4e-07', '123,000', '–')
    """
    if number is None or not math.isfinite(number):
        return NOTHING
    if number == 0:
        return "0"
    if not 1e-4 <= abs(number) < 1e9:
        return f"{number:.{digits}g}"
    rounded = float(f"{number:.{digits}g}")
    places = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def spread(mean: float, low: float, high: float) -> str:
    """A mean and the half width of its interval, to the digits that the half width allows.

    >>> spread(0.1183, 0.1071, 0.1295), spread(0.1209, 0.1115, 0.1303), spread(0.2, 0.2, 0.2)
    ('0.118 ± 0.011', '0.121 ± 0.009', '0.2')
    >>> spread(3.2e-7, 2.9e-7, 3.5e-7), spread(81234.0, 78111.0, 84357.0)
    ('(3.2 ± 0.3)e-07', '81,000 ± 3,000')
    """
    half = max(high - mean, mean - low)
    if not (math.isfinite(mean) and math.isfinite(half)) or half <= 1e-12 * abs(mean):
        return plain(mean)
    largest = max(abs(mean), half)
    if not 1e-4 <= largest < 1e9:
        exponent = math.floor(math.log10(largest))
        scale = 10.0**exponent
        return f"({spread(mean / scale, low / scale, high / scale)})e{exponent:+03d}"
    places = _decimals(half)
    shown = max(0, places)
    return f"{_round(mean, places):,.{shown}f} ± {_round(half, places):,.{shown}f}"


def _round(number: float, places: int) -> float:
    return round(number, places) + 0.0  # + 0.0 turns -0.0 into 0.0


def percent(mean: float, low: float, high: float) -> str:
    """A share in percent with its half width.

    >>> percent(0.976, 0.972, 0.980), percent(0.914, 0.914, 0.914)
    ('97.6 ± 0.4 %', '91.4 %')
    """
    return f"{spread(100 * mean, 100 * low, 100 * high)} %" if math.isfinite(mean) else NOTHING


def change(mean: float, low: float, high: float) -> str:
    """A relative change in percent, its sign always written.

    >>> change(-0.381, -0.43, -0.332), change(0.05, 0.05, 0.05)
    ('-38 ± 5 %', '+5 %')
    """
    text = percent(mean, low, high)
    return f"+{text}" if text[0].isdigit() and mean > 0 else text


def rate(value: float | None) -> str:
    """A learning rate or another hyperparameter, to two significant digits, three when it begins with 1.

    >>> rate(0.003123), rate(0.12345), rate(1e-5), rate(0.999), rate(30.0)
    ('0.0031', '0.123', '1e-05', '0.999', '30')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if 0.9 < abs(value) < 1:  # a memory such as beta2: what counts is its distance to one
        return f"{value:.{max(2, 1 - math.floor(math.log10(1 - abs(value))))}f}".rstrip("0")
    leading = f"{abs(value):e}"[0]
    return plain(value, 3 if leading == "1" else 2)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> duration(4.2), duration(3725)
    ('0:00:04', '1:02:05')
    """
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def count(number: float) -> str:
    """A count with thousands separators.

    >>> count(26122), count(8.25)
    ('26,122', '8.2')
    """
    return f"{number:,}" if isinstance(number, int) else f"{number:,.1f}".removesuffix(".0")


def epochs(number: float) -> str:
    """A length in epochs, which may be a part of one.

    >>> epochs(1.0), epochs(1 / 3), epochs(30)
    ('1 epoch', '0.333 epochs', '30 epochs')
    """
    shown = f"{number:,}" if isinstance(number, int) else plain(number)
    return f"{shown} epoch{'' if shown == '1' else 's'}"


def times(number: int, noun: str) -> str:
    """A count and its noun.

    >>> times(1, "seed"), times(5, "seed")
    ('1 seed', '5 seeds')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
