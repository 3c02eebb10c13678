"""Learning rates: the range test, what a loss curve says of its rate, and how a rate goes with the batch size."""

from ravine.rates.range_test import lr_range_test
from ravine.rates.result import Checked, RangeTest
from ravine.rates.scaling import law_of, scaled_rate
from ravine.rates.symptoms import SYMPTOMS, Symptom, symptom

__all__ = [
    "SYMPTOMS",
    "Checked",
    "RangeTest",
    "Symptom",
    "law_of",
    "lr_range_test",
    "scaled_rate",
    "symptom",
]
