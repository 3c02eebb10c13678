"""Estimators with scikit-learn's interface: for pipelines, grid searches and cross-validation; saved without pickle."""

from ravine.estimators.classifier import RavineClassifier
from ravine.estimators.regressor import RavineRegressor
from ravine.estimators.saved import load_model

__all__ = ["RavineClassifier", "RavineRegressor", "load_model"]
