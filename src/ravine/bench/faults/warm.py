"""Imported by the process of which sessions are forks: it has run each scene once, so that none begins by compiling."""

from __future__ import annotations

import os
import tempfile
from importlib import import_module

from ravine.bench.faults.scenes import SCENES, session

if os.environ.get("RAVINE_FAULTS_WARM"):
    for name in ("ravine.bench.faults.workers", "ravine.bench.faults.ranks", "ravine.training.processes"):
        import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        for scene in SCENES:
            session(scene, f"{folder}/{scene}", always=False)
