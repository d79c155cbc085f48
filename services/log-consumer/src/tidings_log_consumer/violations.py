"""Violations: secrets that a producer sent, counted by source, so that somebody can tell its makers."""

import logging
from collections import Counter
from collections.abc import Iterable

from opentelemetry.metrics import Meter

from tidings.telemetry import names

logger = logging.getLogger(__name__)

MAX_SOURCES = 100
"""So many sources are counted by name: a source is a stranger's text, and each makes a time series."""
OTHER = "other"
LOGGED = 10
"""So many of a batch's sources are named in its line."""


class Violations:
    """Counts redacted values by source.

    Args:
        meter: counts them as `tidings.events.redacted`.
    """

    def __init__(self, meter: Meter) -> None:
        self._counter = meter.create_counter(names.METRIC_EVENTS_REDACTED, unit="{value}")
        self._sources: set[str] = set()

    def count(self, found: Iterable[tuple[str, int]]) -> int:
        """Count one batch's violations, given by source, and say so in one line; return how many there were."""
        by_source: Counter[str] = Counter()
        for source, violations in found:
            if violations:
                by_source[self._label(source)] += violations
        for label, violations in by_source.items():
            self._counter.add(violations, {"source": label})
        if by_source:
            worst = ", ".join(f"{violations} of {label}" for label, violations in by_source.most_common(LOGGED))
            logger.warning("secrets redacted before storing: %s", worst)
        return by_source.total()

    def _label(self, source: str) -> str:
        if len(self._sources) < MAX_SOURCES:
            self._sources.add(source)
        return source if source in self._sources else OTHER
