"""docs/reference.md says what the docstrings say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import agentd
from scripts import reference


def test_the_reference_is_up_to_date() -> None:
    told = "run .venv/bin/python scripts/reference.py and commit what it changes"
    assert reference.PAGE.read_text("utf-8") == reference.reference(), told


def test_it_has_every_public_name() -> None:
    assert sorted(name for names in reference.GROUPS.values() for name in names) == sorted(agentd.__all__)


def test_it_is_the_same_in_another_process() -> None:
    program = "from scripts import reference; print(reference.reference(), end='')"
    root = Path(reference.__file__).parents[1]
    ran = subprocess.run([sys.executable, "-c", program], cwd=root, check=True, capture_output=True, timeout=50)
    assert ran.stdout.decode("utf-8") == reference.reference()
