"""The lab: claims of the lectures as small experiments, each with a measured verdict."""

from ravine.lab.experiment import Experiment, catalogue, experiment
from ravine.lab.outcome import Chart, Check, Row, Series, Verdict

__all__ = ["Chart", "Check", "Experiment", "Row", "Series", "Verdict", "catalogue", "experiment"]
