"""Charts that a program shows: matplotlib's figures as plain records, in the process that drew them.

`watch` waits for `matplotlib.pyplot` to be imported, which costs nothing before, and lets `plt.show` write one JSON
line for each figure to a descriptor of its own. It is also a backend of matplotlib, for programs that are not forked
from a preloaded interpreter. What it writes is believed by nobody: the host decodes it strictly.
"""

import base64
import importlib
import io
import json
import math
import os
import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any

CHARTS_FD = 4
BACKEND = "module://tidepool_charts"
"""Under which name this file is among a sandbox's packages."""
OWNER = "TIDEPOOL_CHARTS"
"""Environment of a program that uses the backend: the process whose descriptor 4 takes charts."""
MAX_LINE = 4 << 20
"""Bytes of one record; a larger one goes without its picture, or not at all."""
_MAX_TEXT = 1000
_MAX_ITEMS = 200
"""Elements of a chart, axes of a figure, ticks of an axis."""
_MAX_POINTS = 10_000

_boxes: "weakref.WeakKeyDictionary[Any, list[dict[str, Any]]]" = weakref.WeakKeyDictionary()
"""What each axes' box plots were drawn from: from the lines it could only be guessed."""


def watch(*hooks: dict[str, Callable[[Any], object]], fd: int = CHARTS_FD) -> None:
    """From the import of matplotlib on, show figures on `fd`. `hooks` are called with modules as they are imported."""
    owner = os.getpid()
    for table in hooks:
        table["matplotlib.pyplot"] = lambda pyplot: _attach(pyplot, fd, owner)


def _attach(pyplot: Any, fd: int, owner: int) -> None:
    genuine = pyplot.show
    if genuine.__module__ == __name__:
        return  # it is ours already

    def show(*args: Any, **kwargs: Any) -> None:
        """Show all open figures: each becomes a chart of this run's result."""
        if os.getpid() == owner:
            _show_all(pyplot, fd)
        else:
            genuine(*args, **kwargs)

    pyplot.show = show
    _note_boxes(pyplot.Axes)


def _note_boxes(axes: Any) -> None:
    genuine = axes.bxp
    if genuine.__module__ == __name__:
        return

    def bxp(self: Any, stats: Any, *args: Any, **kwargs: Any) -> Any:
        stats = list(stats)
        _boxes.setdefault(self, []).extend(stats)
        return genuine(self, stats, *args, **kwargs)

    axes.bxp = bxp


def _show_all(pyplot: Any, fd: int) -> None:
    for number in pyplot.get_fignums():
        line = _line(record(pyplot.figure(number)))
        if line:
            _write(fd, line)
    pyplot.close("all")


def _line(found: dict[str, Any]) -> bytes:
    """A record within `MAX_LINE`: if need be without its picture, then without its elements; else empty."""
    for dropped in ("", "png", "elements"):
        found.pop(dropped, None)
        line = json.dumps({"chart": found}).encode() + b"\n"
        if len(line) <= MAX_LINE:
            return line
    return b""


def _write(fd: int, line: bytes) -> None:
    view = memoryview(line)
    while view:
        view = view[os.write(fd, view) :]


def record(figure: Any) -> dict[str, Any]:
    """A figure as a chart: its one axes, or a composite of several; the picture is of the whole."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png")  # draws it: tick labels are there from now on
    axes = [_axes(item) for item in figure.axes[:_MAX_ITEMS] if not hasattr(item, "_colorbar")]
    if len(axes) == 1:
        found = axes[0]
    elif axes:
        found = {"type": "composite_chart", "title": _title(figure), "elements": axes}
    else:
        found = {"type": "unknown", "title": _title(figure), "elements": []}
    return {**found, "png": base64.b64encode(picture.getvalue()).decode()}


def _title(figure: Any) -> str:
    return _text(figure.get_suptitle() if hasattr(figure, "get_suptitle") else "")


def _axes(axes: Any) -> dict[str, Any]:
    kind, elements = next(
        (kind, items) for kind, read in _READERS if (items := read(axes)) or kind == "unknown"
    )
    found: dict[str, Any] = {
        "type": kind,
        "title": _text(axes.get_title()),
        "elements": elements[:_MAX_ITEMS],
    }
    if kind == "pie":
        return found
    for name in ("x", "y"):
        axis = getattr(axes, f"{name}axis")
        found[f"{name}_label"] = _text(axis.get_label_text())
        found[f"{name}_ticks"] = _numbers(axis.get_ticklocs())
        found[f"{name}_tick_labels"] = [_text(item.get_text()) for item in axis.get_ticklabels()[:_MAX_ITEMS]]
        found[f"{name}_scale"] = _scale(axis)
    return found


def _scale(axis: Any) -> str:
    # get_converter since 3.10; an attribute before.
    converter = axis.get_converter() if hasattr(axis, "get_converter") else getattr(axis, "converter", None)
    name = type(converter).__name__
    if "Category" in name:
        return "categorical"
    return "datetime" if "Date" in name else _text(axis.get_scale())


def _pie(axes: Any) -> list[dict[str, Any]]:
    wedges = [patch for patch in axes.patches if type(patch).__name__ == "Wedge"]
    return [
        {"label": _text(item.get_label()), "angle": float(item.theta2 - item.theta1), "radius": float(item.r)}
        for item in wedges
        if math.isfinite(item.theta2 - item.theta1) and math.isfinite(item.r)
    ]


def _box(axes: Any) -> list[dict[str, Any]]:
    found = []
    for number, stats in enumerate(_boxes.get(axes, ()), start=1):
        names = {
            "min": "whislo",
            "first_quartile": "q1",
            "median": "med",
            "third_quartile": "q3",
            "max": "whishi",
        }
        values = {name: float(stats[key]) for name, key in names.items()}
        if all(map(math.isfinite, values.values())):
            outliers = _numbers(stats.get("fliers", ()), _MAX_POINTS)
            found.append({"label": _text(stats.get("label") or number), **values, "outliers": outliers})
    return found


def _bar(axes: Any) -> list[dict[str, Any]]:
    found = []
    for container in axes.containers:
        if type(container).__name__ != "BarContainer":
            continue
        lies = getattr(container, "orientation", "vertical") == "horizontal"
        labels = _labels(axes.yaxis if lies else axes.xaxis)
        for bar in container.patches[:_MAX_POINTS]:
            middle = bar.get_y() + bar.get_height() / 2 if lies else bar.get_x() + bar.get_width() / 2
            size = bar.get_width() if lies else bar.get_height()
            label = labels.get(round(float(middle), 6)) or f"{middle:g}"
            found.append({"label": label, "group": _group(container), "value": f"{size:.12g}"})
    return found


def _labels(axis: Any) -> dict[float, str]:
    shown = (_text(item.get_text()) for item in axis.get_ticklabels())
    return dict(zip((round(float(place), 6) for place in axis.get_ticklocs()), shown, strict=False))


def _group(artist: Any) -> str:
    label = _text(artist.get_label())
    return "" if label.startswith("_") else label  # matplotlib's own names


def _line_elements(axes: Any) -> list[dict[str, Any]]:
    return [
        {"label": _group(line) or f"Line {number}", "points": _points(line.get_xydata())}
        for number, line in enumerate(axes.lines)
        if len(line.get_xydata())
    ]


def _scatter(axes: Any) -> list[dict[str, Any]]:
    clouds = [item for item in axes.collections if type(item).__name__ == "PathCollection"]
    return [
        {"label": _group(item) or f"Scatter {number}", "points": _points(item.get_offsets())}
        for number, item in enumerate(clouds)
    ]


_READERS: tuple[tuple[str, Callable[[Any], list[dict[str, Any]]]], ...] = (
    ("pie", _pie),
    ("box_and_whisker", _box),
    ("bar", _bar),
    ("line", _line_elements),
    ("scatter", _scatter),
    ("unknown", lambda axes: []),
)
"""The first that finds something says what an axes is."""


def _points(pairs: Iterable[Any]) -> list[list[float]]:
    found: list[list[float]] = []
    for x, y in pairs:
        if len(found) == _MAX_POINTS:
            break
        if math.isfinite(x) and math.isfinite(y):
            found.append([float(x), float(y)])
    return found


def _numbers(values: Iterable[Any], limit: int = _MAX_ITEMS) -> list[float]:
    found = [float(value) for value in list(values)[:limit]]
    return [value for value in found if math.isfinite(value)]


def _text(value: Any) -> str:
    return str(value)[:_MAX_TEXT].encode("utf-8", "backslashreplace").decode()


def _show_as_backend(*args: Any, **kwargs: Any) -> None:
    if os.environ.get(OWNER) == str(os.getpid()):
        _show_all(sys.modules["matplotlib.pyplot"], CHARTS_FD)


if f"module://{__name__}" == BACKEND:
    # What matplotlib looks for in a backend; pictures are drawn by Agg.
    FigureCanvas = importlib.import_module("matplotlib.backends.backend_agg").FigureCanvasAgg
    show = _show_as_backend
    _note_boxes(importlib.import_module("matplotlib.axes").Axes)
