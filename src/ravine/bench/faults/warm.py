"""Imported by the process of which sessions are forks: it has run each scene once, so that none begins by compiling."""

from __future__ import annotations

import os
import tempfile

from ravine.bench.faults.scenes import SCENES, session
from ravine.bench.faults.workers import SPEC

assert SPEC.rules  # imported so that sessions of shared races find all they need

if os.environ.get("RAVINE_FAULTS_WARM"):
    with tempfile.TemporaryDirectory() as folder:
        for scene in SCENES:
            session(scene, f"{folder}/{scene}", always=False)
