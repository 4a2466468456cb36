"""Formats of numbers and names, the same in the terminal, a report and a plot.

Measures are shown x100. A missing value is a dash, never a zero; a minus is U+2212, as wide as
a plus, so that columns of differences are aligned.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "MISSING", "format_amount", "format_difference", "format_interval", "format_measure",
    "format_p", "shorten_name",
]  # fmt: skip

MISSING = "–"
"""In place of a missing value."""

_MIN_P = 0.001
_SMALL = 0.1


def format_measure(value: float | None, digits: int = 2) -> str:
    """A measure, or a share, x100: 0.65547 is "65.55"."""
    if value is None:
        return MISSING
    text = f"{100 * value:.{digits}f}"
    return _minus(text) if text.strip("-0.") else text.lstrip("-")


def format_difference(value: float | None, digits: int = 2) -> str:
    """A difference of measures x100 with its sign: "+14.97", "−2.10", "0.00"."""
    if value is None:
        return MISSING
    text = f"{100 * value:+.{digits}f}"
    return _minus(text) if text.strip("+-0.") else text[1:]


def format_interval(interval: Sequence[float] | None, sign: bool = False) -> str:
    """An interval of measures x100: "61.2 to 69.4"; with `sign`, of differences."""
    if interval is None:
        return MISSING
    write = format_difference if sign else format_measure
    return " to ".join(write(end, 1) for end in interval)


def format_p(p: float | None) -> str:
    """A probability to three digits, without the leading zero: "<.001", ".032"."""
    if p is None:
        return MISSING
    return "<.001" if p < _MIN_P else f"{p:.3f}".removeprefix("0")


def format_amount(value: float | None, digits: int | None = None) -> str:
    """A count, or a mean of counts or seconds: "14,581", "21.3", "0.48", "0.0041".

    Args:
        value: of any size.
        digits: after the point, for a column with aligned points; None for about three
            significant digits of each.
    """
    if value is None:
        return MISSING
    if digits is None:
        digits = 0 if value == int(value) or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
        if 0 < abs(value) < _SMALL:
            return _minus(f"{value:.2g}")
    return _minus(f"{value:,.{digits}f}")


def shorten_name(name: str, max_length: int) -> str:
    """A name of at most `max_length` characters; its end is kept, where similar names differ."""
    half = max_length // 2
    return name if len(name) <= max_length else f"{name[: half - 1]}…{name[-half:]}"


def _minus(text: str) -> str:
    return text.replace("-", "−")
