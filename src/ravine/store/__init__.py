"""What was raced and trained, kept in a database."""

from ravine.store.connect import default_path
from ravine.store.rows import Ensemble, RaceSummary, Summary, Training
from ravine.store.store import Store

__all__ = ["Ensemble", "RaceSummary", "Store", "Summary", "Training", "default_path"]
