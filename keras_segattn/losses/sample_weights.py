"""Shapes of what losses of sequences take: ids and outputs of every step, and weights per example or per element."""

from typing import Any

from keras import ops


def fitted_weights(name: str, sample_weight: Any, shape: Any) -> Any:
    """Return sample weights with as many dimensions as the losses that they multiply.

    Keras multiplies losses by weights of any shape that broadcasts, which pairs the wrong dimensions if their sizes
    happen to agree.

    Args:
        name: name of the loss in error messages.
        sample_weight: a number, or weights of the first dimensions of `shape`, at least of the batch; further
            dimensions of size 1 may follow.
        shape: shape of the losses, `(batch, …)`; `None` or a tensor where a size is unknown.

    Returns:
        Tensor that broadcasts to `shape`.

    Raises:
        ValueError: if the weights have another shape.
    """
    weights = ops.convert_to_tensor(sample_weight)
    while len(weights.shape) > 1 and weights.shape[-1] == 1:
        weights = ops.squeeze(weights, axis=-1)
    pairs = zip(weights.shape, shape, strict=False)
    if len(weights.shape) > len(shape) or any(isinstance(n, int) and m not in (None, n) for m, n in pairs):
        sizes = [str(n) if isinstance(n, int) else "None" for n in shape]
        expected = " or ".join(f"({', '.join(sizes[:k])}{',' * (k == 1)})" for k in range(1, len(sizes) + 1))
        raise ValueError(f"{name} expects sample weights {expected}, received {tuple(ops.shape(sample_weight))}")
    for _ in range(len(shape) - len(weights.shape) if len(weights.shape) else 0):
        weights = ops.expand_dims(weights, -1)
    return weights


def check_steps(name: str, ids: Any, outputs: Any, expected: str) -> None:
    """Check that a loss gets ids `(batch, T)` and, for each of them, a vector of the outputs `(batch, T, …)`.

    Args:
        name: name of the loss in error messages.
        ids: ids of tokens.
        outputs: outputs of the model.
        expected: description of the outputs, such as `"logits (batch, T, vocabulary)"`.

    Raises:
        ValueError: if the shapes do not fit.
    """
    pairs = zip(ids.shape, outputs.shape, strict=False)
    if (len(ids.shape), len(outputs.shape)) != (2, 3) or any(a != b for a, b in pairs if None not in (a, b)):
        received = f"{tuple(ids.shape)} and {tuple(outputs.shape)}"
        raise ValueError(f"{name} expects ids (batch, T) and {expected}, received {received}")
