"""The report's charts, as HTML fragments; the first carries the script that draws them all."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from curate import schema

COLOURS = {"kept": "#2a9d8f", "duplicate": "#e9c46a", "quarantined": "#c8553d", "review": "#8d99ae"}


def charts(images: pd.DataFrame, soft: pd.DataFrame) -> list[str]:
    """Return the charts that there are data for."""
    figures = [_flow(images)] if len(images) else []
    figures += [_confidence(soft)] if len(soft) else []
    return [
        figure.to_html(
            full_html=False, include_plotlyjs=position == 0, config={"displaylogo": False}
        )
        for position, figure in enumerate(figures)
    ]


def _flow(images: pd.DataFrame) -> go.Figure:
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


def _confidence(soft: pd.DataFrame) -> go.Figure:
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


def _styled(traces: Sequence[object], title: str, axis: str, height: int) -> go.Figure:
    figure = go.Figure(list(traces))
    figure.update_layout(
        barmode="stack", title=title, xaxis_title=axis, height=height, template="plotly_white",
        margin={"l": 10, "r": 10, "t": 50, "b": 40}, font_family="system-ui, sans-serif",
        yaxis={"automargin": True},
    )  # fmt: skip
    return figure
