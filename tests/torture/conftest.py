"""The tests of this folder share its modules with tools that are not pytest's."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
