"""Measure the engine against its alternatives; runs from a checkout where nothing is installed."""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("neurgrad") is None:
    sys.path.append(str(Path(__file__).parents[1] / "python_api"))
