"""Plots of a report as inline SVG: bars with intervals, quality against cost.

Text stays text, in the page's font and colour; the same report gives the same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import ceil, floor, log10
from pathlib import Path
from statistics import fmean
from typing import Any
from xml.etree import ElementTree

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from rearank_agent.text import printable
from rearank_evals.report.numbers import (
    format_amount,
    format_interval,
    format_measure,
    shorten_name,
)
from rearank_evals.report.table import Details, Report, details_of, systems

__all__ = ["AXES", "bars", "tradeoff"]

AXES: Mapping[str, tuple[str, ...]] = {
    "calls": ("calls",),
    "tokens": ("prompt_tokens", "thought_tokens", "answer_tokens"),
    "seconds": ("seconds",),
}
"""The cost axes of the trade-off plots, and the costs that each sums."""

# Okabe and Ito's colours, without yellow and black, which a light or a dark page hides.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8a7a1f")
_MARKERS = "sD^vPXp"
_BASELINE = ("#8c8c8c", "o")
# Colours that the page replaces by its own, for example in dark mode.
_INK, _LINE, _PAPER = "#111111", "#dddddd", "#fefefe"
_PAGE = {_INK: "currentColor", _LINE: "var(--line, #ddd)", _PAPER: "var(--paper, #fff)"}

_WIDTH = 3.6  # inches: still legible at the width of a phone
_NAME = 26  # characters of a name
_ROW = 0.2  # inches per line of the legend
_LOG_RATIO = 20  # of the largest to the smallest cost, from which the axis is logarithmic
_STYLE: list[str | Path | dict[str, Any]] = [
    "default",  # whatever the machine's own matplotlibrc says
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "rearank-agent",
        "text.parse_math": False,  # a name may have a dollar sign
        "font.size": 9,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "axes.edgecolor": _LINE,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": _LINE,
        "grid.linewidth": 0.6,
        "xtick.color": _LINE,
        "ytick.color": _LINE,
        "xtick.labelcolor": _INK,
        "ytick.labelcolor": _INK,
        **{f"axes.spines.{side}": False for side in ("left", "right", "top")},
        "ytick.major.size": 0,
    },
]


@dataclass(frozen=True, slots=True)
class _Point:
    system: str
    cost: float
    value: float
    ends: Sequence[float]


def bars(report: Report, details: Details, collection: str) -> str:
    """The headline measure of every system on a collection, with its 95% interval, as SVG.

    A diamond is the policy without the blend.
    """
    measure, values = details["measures"][0], report[collection]
    names = [name for name in values if measure in values[name]]
    with style.context(_STYLE):
        figure, axes = _figure(0.44 * len(names), below=0.3)
        colours = [_colour_and_marker(report, details, name)[0] for name in names]
        ends = [
            _bar(axes, y, n, colours[y], report, details, collection) for y, n in enumerate(names)
        ]
        axes.set(xlim=(0, 103 * max([0.01, *ends])), ylim=(len(names) - 0.65, -0.65), yticks=[])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        texts = (f"{name} {format_measure(values[name][measure])}" for name in names)
        return _svg(figure, f"{measure} x100 on {collection}: {', '.join(texts)}")


def tradeoff(report: Report, details: Details, axis: str) -> str | None:
    """The headline measure against one of `AXES`, a point for each system, as SVG.

    Means over the collections on which every system ran; None where all costs are 0.
    """
    points = _points(report, details, AXES[axis])
    if not any(point.cost for point in points):
        return None
    height, measure = 2.0, details["measures"][0]
    with style.context(_STYLE):
        figure, axes = _figure(height, below=0.6 + _ROW * len(points), left=0.3, above=0.3)
        for row, point in enumerate(points):
            colour, marker = _colour_and_marker(report, details, point.system)
            shape: dict[str, Any] = {
                "color": colour,
                "marker": marker,
                "markersize": 7,
                "markeredgecolor": _PAPER,
            }
            axes.plot([point.cost] * 2, [100 * end for end in point.ends], color=colour, alpha=0.5)
            axes.plot(point.cost, 100 * point.value, **shape)
            y = -(0.6 + _ROW * row) / height
            axes.plot(-0.04, y + 0.015, transform=axes.transAxes, clip_on=False, **shape)
            axes.text(0, y, shorten_name(printable(point.system), _NAME), transform=axes.transAxes)
            values = f"{format_measure(point.value)} at {format_amount(point.cost)}"
            axes.text(1, y, values, transform=axes.transAxes, ha="right")
        _scale(axes, [point.cost for point in points])
        axes.set_xlabel(f"{axis} per query", loc="right", labelpad=2)
        axes.set_title(f"{measure} x100", loc="left", fontsize=9)
        return _svg(figure, f"{measure} x100 against {axis} per query")


def _points(report: Report, details: Details, parts: Sequence[str]) -> list[_Point]:
    """A point for each system, the best first."""
    measure, names = details["measures"][0], systems(report)
    shared = [c for c, values in report.items() if all(measure in values.get(n, {}) for n in names)]
    points = []
    for name in names if shared else []:
        entries = [details_of(details, collection, name) for collection in shared]
        costs = [sum((one.get("cost") or {}).get(part) or 0 for part in parts) for one in entries]
        value = fmean(report[collection][name][measure] for collection in shared)
        ends = (entries[0].get("intervals") or {}).get(measure)
        if len(report) > 1:
            ends = (details.get("macro") or {}).get(name, {}).get("interval")
        points.append(_Point(name, fmean(costs), value, ends or (value, value)))
    return sorted(points, key=lambda point: -point.value)


def _bar(
    axes: Axes, y: int, name: str, colour: str, report: Report, details: Details, collection: str
) -> float:
    """Draws a system's bar under its name; returns its right end, 0..1."""
    measure, entry = details["measures"][0], details_of(details, collection, name)
    value = report[collection][name][measure]
    ends = (entry.get("intervals") or {}).get(measure)
    alone = (entry.get("alone") or {}).get(measure)
    axes.barh(y, 100 * value, height=0.3, color=colour)
    if ends:
        axes.plot([100 * end for end in ends], [y, y], color=_INK, linewidth=1.2)
    if alone is not None:
        axes.plot(100 * alone, y, "d", color=_PAPER, markeredgecolor=_INK, markersize=5.5)
    across = axes.get_yaxis_transform()
    axes.text(0, y - 0.28, shorten_name(printable(name), _NAME), transform=across)
    figures = (
        f"{format_measure(value)}\u2003{format_interval(ends)}" if ends else format_measure(value)
    )
    axes.text(1, y - 0.28, figures, transform=across, ha="right")
    return max(value, alone or 0, *(ends or ()))


def _colour_and_marker(report: Report, details: Details, system: str) -> tuple[str, str]:
    """A system's colour and marker, the same in every plot."""
    baseline = details.get("baseline")
    if system == baseline:
        return _BASELINE
    i = [name for name in systems(report) if name != baseline].index(system)
    return _COLOURS[i % len(_COLOURS)], _MARKERS[(i + i // len(_COLOURS)) % len(_MARKERS)]


def _scale(axes: Axes, costs: Sequence[float]) -> None:
    """Make the cost axis logarithmic where costs lie far apart; it still shows 0."""
    axes.margins(x=0.08, y=0.12)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    smallest, largest = min(cost for cost in costs if cost > 0), max(costs)
    if largest < _LOG_RATIO * smallest:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    else:
        decades = range(floor(log10(smallest)), ceil(log10(largest)) + 1)
        ticks = [*([0.0] if 0 in costs else []), *(10.0**decade for decade in decades)]
        axes.set_xscale("symlog", linthresh=10.0 ** decades[0])
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"{cost:,.6g}"))


def _figure(
    height: float, below: float, left: float = 0.0, above: float = 0.0
) -> tuple[Figure, Axes]:
    """A figure with axes of this height and these margins, in inches."""
    total, edge = height + below + above, 0.08
    figure = Figure(figsize=(_WIDTH, total))
    sides = (left + edge, below / total, _WIDTH - left - 2 * edge, height / total)
    axes = figure.add_axes((sides[0] / _WIDTH, sides[1], sides[2] / _WIDTH, sides[3]))
    return figure, axes


def _svg(figure: Figure, label: str) -> str:
    """The figure as an element of a page: without prologue, with ids of its own."""
    written = io.StringIO()
    with warnings.catch_warnings():
        # The page's fonts draw the text, so matplotlib needs no glyphs for it.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    text = written.getvalue()
    root = ElementTree.fromstring(text)  # noqa: S314 (our own, a moment old)
    # What would apply to the whole page: metadata of the file, a style for every element.
    root[:] = [part for part in root if part.find("{*}style") is None and "meta" not in part.tag]
    name = "p" + sha256(f"{label}{text}".encode()).hexdigest()[:8]
    linked = set(re.findall(r'(?:url\(|href=")#(\w+)', text))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        element.attrib.clear()
        for key, value in attributes.items():
            if key != "id" or value in linked:
                element.set(key, _rewritten(key, value, name))
    root.attrib.update(xmlns="http://www.w3.org/2000/svg", role="img")
    root.set("aria-label", printable(label))
    return ElementTree.tostring(root, encoding="unicode")


def _rewritten(key: str, value: str, name: str) -> str:
    """An attribute's value with ids of this figure, and the page's colours and font."""
    if key == "id":
        return f"{name}-{value}"
    for colour, page in _PAGE.items():
        value = value.replace(colour, page)
    value = re.sub(r"(^|url\()#(?=[a-z])", rf"\1#{name}-", value)
    return re.sub(r" font-family: [^;]+;", "", value)
