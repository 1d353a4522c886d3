"""A sum over the steps of a loop that keeps only one term in memory."""

from collections.abc import Callable
from typing import Any

from keras import ops


def loop_sum(term: Callable[[Any], Any], count: int) -> Any:
    """Add up `term(0) + term(1) + …` in a loop.

    The sum begins with the first term: it has the value of a loop that begins with zeros, but a `.tflite` file of
    static sizes would hold those zeros as a constant.

    Args:
        term: function from a number, as an integer or a scalar integer tensor, to a tensor; all have one shape.
        count: number of terms, at least 1.
    """
    return ops.fori_loop(1, count, lambda step, total: total + term(step), term(0))
