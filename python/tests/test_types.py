"""All of its Python by mypy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PYTHON = Path(__file__).resolve().parents[1]


def test_types() -> None:
    paths = ["package/sepconv", "examples", "benchmarks", "tests"]
    ran = subprocess.run([sys.executable, "-m", "mypy", *paths], cwd=PYTHON, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
