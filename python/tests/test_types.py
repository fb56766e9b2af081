"""The package, the example and the tests by mypy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PYTHON = Path(__file__).resolve().parents[1]


def test_types() -> None:
    paths = ["package/sepconv", "examples", "tests"]
    ran = subprocess.run([sys.executable, "-m", "mypy", *paths], cwd=PYTHON, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
