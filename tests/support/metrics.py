"""Metrics, as a reader in memory has them."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.metrics.export import InMemoryMetricReader


def points(reader: InMemoryMetricReader, name: str) -> list[tuple[Mapping[str, Any], Any]]:
    """Return attributes and value of each series of a counter."""
    data = reader.get_metrics_data()
    return [
        (point.attributes or {}, point.value)  # type: ignore[union-attr]  # a counter's points have a value
        for resource in (data.resource_metrics if data else [])
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]
