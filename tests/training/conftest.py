"""Makes `training_toys` importable, which the tests' sub-processes run as a program."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
