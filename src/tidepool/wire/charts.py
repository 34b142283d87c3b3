"""JSON of charts (protocol section 6.1 and appendix D): what a program showed with matplotlib.

The names are snake case here, unlike everywhere else on the wire. The bounds are part of the types: a chart that does
not keep them is no chart.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Text = Annotated[str, Meta(max_length=4000)]
Items = Meta(max_length=200)
Numbers = Annotated[list[float], Meta(max_length=10_000)]
Point = Annotated[list[float], Meta(min_length=2, max_length=2)]
Points = Annotated[list[Point], Meta(max_length=10_000)]
Picture = Annotated[str, Meta(max_length=4 << 20, pattern=r"\A[A-Za-z0-9+/]*={0,2}\Z")]
"""A PNG file, base64."""
Kind = Literal["line", "scatter", "bar", "pie", "box_and_whisker", "composite_chart", "unknown"]


class Element(msgspec.Struct, kw_only=True):
    """A line or cloud (points), a bar (group, value), a wedge (angle, radius) or a box (min to outliers)."""

    label: Text | UnsetType = UNSET
    points: Points | UnsetType = UNSET
    group: Text | UnsetType = UNSET
    value: Text | UnsetType = UNSET
    angle: float | UnsetType = UNSET
    """Degrees."""
    radius: float | UnsetType = UNSET
    min: float | UnsetType = UNSET
    first_quartile: float | UnsetType = UNSET
    median: float | UnsetType = UNSET
    third_quartile: float | UnsetType = UNSET
    max: float | UnsetType = UNSET
    outliers: Numbers | UnsetType = UNSET


class Part(Element, kw_only=True):
    """An element of a chart; in a composite chart a whole chart, without a picture of its own."""

    type: Kind | UnsetType = UNSET
    title: Text | UnsetType = UNSET
    elements: Annotated[list[Element], Items] | UnsetType = UNSET
    x_label: Text | UnsetType = UNSET
    y_label: Text | UnsetType = UNSET
    x_ticks: Numbers | UnsetType = UNSET
    y_ticks: Numbers | UnsetType = UNSET
    x_tick_labels: Annotated[list[Text], Items] | UnsetType = UNSET
    y_tick_labels: Annotated[list[Text], Items] | UnsetType = UNSET
    x_scale: Text | UnsetType = UNSET
    """linear, log, symlog, logit, categorical, datetime or one of the program's own."""
    y_scale: Text | UnsetType = UNSET


class Chart(Part, kw_only=True):
    """One figure; `elements` are its lines, bars and so on, or the charts of a composite."""

    type: Kind
    elements: Annotated[list[Part], Items] = []  # type: ignore[assignment]  # a part is more than an element
    png: Picture | UnsetType = UNSET


class Shown(msgspec.Struct):
    """One line as the program's process writes it."""

    chart: Chart


class Artifacts(msgspec.Struct):
    """What a run made besides its output."""

    charts: list[Chart]
