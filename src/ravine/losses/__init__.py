"""Losses: as functions, by name with settings, for a problem; sums over several tasks."""

from ravine.losses.catalogue import FORMS, Form, names_for
from ravine.losses.problem import finish_metric, loss_name, loss_of, metric_name, metric_of
from ravine.losses.spec import form_of, loss_text
from ravine.losses.tasks import LearnedWeights, weighted_sum

__all__ = [
    "FORMS",
    "Form",
    "LearnedWeights",
    "finish_metric",
    "form_of",
    "loss_name",
    "loss_of",
    "loss_text",
    "metric_name",
    "metric_of",
    "names_for",
    "weighted_sum",
]
