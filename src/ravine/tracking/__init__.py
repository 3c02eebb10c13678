"""Logs of a run for other tools: TensorBoard, MLflow, CSV and JSON lines; a log that fails never harms the run."""

from ravine.tracking.log import About, Log
from ravine.tracking.open import open_log
from ravine.tracking.watch import logged_race, logged_training

__all__ = ["About", "Log", "logged_race", "logged_training", "open_log"]
