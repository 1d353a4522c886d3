"""Mixed precision for a model that was built in float32: its weights stay float32, only the computation changes."""

import contextlib
from collections.abc import Iterator

import keras

from keras_segattn.arguments import check_choice

POLICIES = ("mixed_float16", "mixed_bfloat16")


def resolve_policy(mixed_precision: bool | str) -> str | None:
    """Return the name of a dtype policy: `True` means `"mixed_float16"`, `False` means none.

    Raises:
        ValueError: if it is none of `True`, `False` and the mixed policies of Keras.
    """
    check_choice("mixed_precision", mixed_precision, (False, True, *POLICIES))
    if isinstance(mixed_precision, bool):
        return "mixed_float16" if mixed_precision else None
    return mixed_precision


@contextlib.contextmanager
def dtype_policies(model: keras.Model, policy: str | None) -> Iterator[None]:
    """Give every layer of the model another dtype policy, and restore its own policy at the end.

    Inputs and the layers that make the outputs keep their policies, so that losses receive float32 logits.

    Args:
        model: flat functional model.
        policy: name of a policy with float32 variables; `None` changes nothing.
    """
    if policy is None:
        yield
        return
    layers = [
        layer
        for layer in model.layers
        if layer.name not in model.output_names and not isinstance(layer, keras.layers.InputLayer)
    ]
    own = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = policy
        yield
    finally:
        for layer, original in zip(layers, own, strict=True):
            layer.dtype_policy = original
