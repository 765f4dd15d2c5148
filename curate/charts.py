"""The report's charts, as HTML fragments; the first carries the script that draws them all."""

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from curate import schema

COLOURS = {"kept": "#2a9d8f", "duplicate": "#e9c46a", "quarantined": "#c8553d", "review": "#8d99ae"}


def html(figures: Sequence[go.Figure]) -> list[str]:
    """Return the figures of a page as HTML."""
    return [
        figure.to_html(
            full_html=False, include_plotlyjs=position == 0, config={"displaylogo": False}
        )
        for position, figure in enumerate(figures)
    ]


def flow(images: pd.DataFrame) -> go.Figure:
    """Return what came in: bars of statuses, one for each ingest run."""
    mined = images[images["origin"] != "synthetic"]
    counts = pd.crosstab(mined["batch"], mined["status"])
    bars = [
        go.Bar(
            name=status,
            y=list(counts.index),
            x=list(counts[status]),
            orientation="h",
            marker_color=COLOURS[status],
        )
        for status in schema.IMAGE_STATUSES
        if status in counts
    ]
    return _styled(bars, "What came in, by ingest run", "images", 110 + 60 * len(counts))


def confidence(soft: pd.DataFrame) -> go.Figure:
    """Return the histogram of how sure the teacher was."""
    parts = [
        go.Histogram(
            name=name,
            x=list(rows["confidence"]),
            xbins={"start": 0.5, "end": 1.0, "size": 0.02},
            marker_color=colour,
        )
        for name, rows, colour in (
            ("accepted", soft[soft["status"] == "accepted"], COLOURS["kept"]),
            ("review", soft[soft["status"] == "review"], COLOURS["review"]),
        )
    ]
    return _styled(parts, "How sure the teacher was", "confidence", 320)


def reliability(points: Mapping[str, Sequence[tuple[float, float, int]]]) -> go.Figure:
    """Return how often the teacher was right against how sure it was, before and after a fit.

    ``points``: name -> (mean confidence, share right, count), of images it had not seen.
    """
    lines = [
        go.Scatter(
            name=f"{name} calibration",
            x=[sure for sure, _, _ in bins],
            y=[right for _, right, _ in bins],
            text=[f"{count} images" for _, _, count in bins],
            mode="lines+markers",
            line_color=COLOURS["review" if name == "before" else "kept"],
        )
        for name, bins in points.items()
    ]
    honest = go.Scatter(
        name="honest", x=[0.5, 1], y=[0.5, 1], mode="lines", line={"dash": "dot", "color": "#999"}
    )
    return _styled(
        [honest, *lines], "How right it was when it was so sure", "confidence", 320, "share right"
    )


def risk(curve: Sequence[tuple[float, float, float]]) -> go.Figure:
    """Return the share wrong of dev, and its bound, against the share accepted."""
    x = [share for share, _, _ in curve]
    lines = [
        go.Scatter(name=name, x=x, y=[point[place] for point in curve], line_color=colour)
        for place, name, colour in (
            (1, "wrong", COLOURS["kept"]),
            (2, "bound", COLOURS["quarantined"]),
        )
    ]
    return _styled(lines, "What accepting more would cost", "accepted of dev", 320, "share wrong")


def _styled(
    traces: Sequence[object], title: str, axis: str, height: int, upright: str = ""
) -> go.Figure:
    figure = go.Figure(list(traces))
    figure.update_layout(
        barmode="stack", title=title, xaxis_title=axis, height=height, template="plotly_white",
        margin={"l": 10, "r": 10, "t": 50, "b": 40}, font_family="system-ui, sans-serif",
        yaxis={"automargin": True, "title": upright},
    )  # fmt: skip
    return figure
