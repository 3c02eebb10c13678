"""Transfer: begin at weights that were trained before, with a new head; freeze, slow down or unfreeze layers."""

from ravine.transfer.fit import Loaded, load_into
from ravine.transfer.freezing import freeze, unfreeze
from ravine.transfer.pacing import Unfreezing, layerwise_groups, unfreeze_schedule
from ravine.transfer.spec import Transfer

__all__ = [
    "Loaded",
    "Transfer",
    "Unfreezing",
    "freeze",
    "layerwise_groups",
    "load_into",
    "unfreeze",
    "unfreeze_schedule",
]
