"""The state of a run on disk: each checkpoint whole in a folder of its own, found sound or not used."""

from ravine.checkpoints.claim import claimed
from ravine.checkpoints.keep import KEEP, Checkpoints
from ravine.checkpoints.sound import Found, holds, newest

__all__ = ["KEEP", "Checkpoints", "Found", "claimed", "holds", "newest"]
