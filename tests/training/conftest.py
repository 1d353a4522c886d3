"""Settings of the tests of training; they also make `training_toys` and `toy_trainings` importable.

Tests run these two modules as programs in processes of their own, too.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def eagerly():
    """Train in this test as `training_toys.eager_steps` does."""
    from training_toys import eager_steps

    with eager_steps():
        yield
