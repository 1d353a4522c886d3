"""Make `training_toys` importable, a module that tests also run as a program in processes of its own."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
