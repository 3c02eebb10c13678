"""Where the time of a run goes: by phase of a step, and by layer; measured on copies, so that no run changes."""

from ravine.profiling.measure import Profile, profile

__all__ = ["Profile", "profile"]
