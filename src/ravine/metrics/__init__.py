"""Metrics beside the loss: by name, or of one's own, with the direction in which they are better."""

from ravine.metrics.catalogue import METRICS, Metric, metric_of
from ravine.metrics.classes import confusion
from ravine.metrics.measure import check_metrics, confused, measured
from ravine.metrics.monitor import SHOWN, Monitor, Wait, monitor_of

__all__ = [
    "METRICS", "SHOWN", "Metric", "Monitor", "Wait", "check_metrics", "confused", "confusion", "measured", "metric_of",
    "monitor_of",
]  # fmt: skip
