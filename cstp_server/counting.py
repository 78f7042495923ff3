"""Counts of what happens with every call, kept apart until somebody asks for the metrics.

A counter of Prometheus's client takes a lock and several calls for each step, because any thread may count. What only the event loop
counts is added up here first, and entered when the metrics are read; so whoever reads them still reads every call.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

from prometheus_client import Counter, Histogram


class Counts:
    """The steps of a counter with labels. For one thread, which also settles."""

    def __init__(self, counter: Counter, *, at_once: bool) -> None:
        """`at_once` enters each step as it is made: where other processes read the metrics, they ask nobody to settle first."""
        self._counter = counter
        self._at_once = at_once
        self._children: dict[tuple[str, ...], Counter] = {}
        self._steps: defaultdict[tuple[str, ...], int] = defaultdict(int)

    def add(self, *labels: str) -> None:
        """One step."""
        if self._at_once:
            self._child(labels).inc()
        else:
            self._steps[labels] += 1

    def settle(self) -> None:
        """Enter what was added."""
        for labels, steps in self._steps.items():
            self._child(labels).inc(steps)
        self._steps.clear()

    def _child(self, labels: tuple[str, ...]) -> Counter:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._counter.labels(*labels)
        return child


class Durations:
    """What is observed of a histogram with one label, in seconds. For one thread, which also settles."""

    def __init__(self, histogram: "Bulk", bounds: Sequence[float], *, at_once: bool) -> None:
        """`bounds` are those of the histogram; `at_once` as for counts."""
        self._histogram = histogram
        self._bounds = bounds
        self._at_once = at_once
        self._children: dict[str, Bulk] = {}
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def add(self, label: str, seconds: float) -> None:
        """One observation."""
        if self._at_once:
            self._child(label).observe(seconds)
            return
        counts = self._counts.get(label)
        if counts is None:
            counts = self._counts[label] = [0] * (len(self._bounds) + 1)
            self._sums[label] = 0.0
        counts[bisect_left(self._bounds, seconds)] += 1
        self._sums[label] += seconds

    def settle(self) -> None:
        """Enter what was added."""
        for label, counts in self._counts.items():
            self._child(label).observe_all(counts, self._sums[label])
        self._counts.clear()

    def _child(self, label: str) -> "Bulk":
        child = self._children.get(label)
        if child is None:
            child = self._children[label] = self._histogram.labels(label)
        return child


class Bulk(Histogram):
    """A histogram that takes many observations at once, which the library's own does not."""

    def observe_all(self, counts: Sequence[int], total: float) -> None:
        """As many observations as `counts` has for each bucket, the unbounded one last, which come to `total` together."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
