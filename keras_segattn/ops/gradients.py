"""Identity functions with modified gradients."""

from typing import Any

from keras import ops


def clip_gradient(x: Any, limit: Any) -> Any:
    """Return `x` itself, and clip each element of its gradient to ±`limit`.

    Args:
        x: a float tensor.
        limit: largest absolute value, a positive number or a scalar tensor.

    Returns:
        `x`.

    Example:
        >>> deltas = clip_gradient(deltas, 1 / 512)
    """

    @ops.custom_gradient
    def identity(x: Any) -> Any:
        def clipped(*upstream: Any, **named: Any) -> Any:
            gradient = upstream[0] if upstream else named["upstream"]
            return ops.clip(gradient, -limit, limit)

        return ops.multiply(x, 1.0), clipped

    return identity(x)
