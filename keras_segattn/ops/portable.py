"""The switch that decides whether operators may use kernels that only one backend has."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import keras

_portable: ContextVar[bool] = ContextVar("portable", default=False)


@contextlib.contextmanager
def portable_operators() -> Iterator[None]:
    """Make operators use `keras.ops` only, so that a graph traced in this context can be converted and runs anywhere.

    Example:
        >>> with portable_operators():
        ...     concrete = tf.function(model).get_concrete_function(signature)
    """
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)


def use_tensorflow_kernels() -> bool:
    """Return whether an operator may use `ops/_tensorflow.py`."""
    return keras.backend.backend() == "tensorflow" and not _portable.get() and not _traced_for_xla()


def _traced_for_xla() -> bool:
    """Return whether TensorFlow is tracing a function with `jit_compile=True`, or a part of one such as a loop."""
    import tensorflow as tf

    graph = tf.compat.v1.get_default_graph()
    while graph is not None:
        # TensorFlow marks such functions for its own kernels in this way only.
        context = graph._get_control_flow_context()
        if context is not None and context.IsXLAContext():
            return True
        graph = getattr(graph, "outer_graph", None)
    return False
