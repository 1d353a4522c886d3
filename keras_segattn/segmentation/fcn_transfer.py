"""Initialisation of a finer network from a trained coarser one: the staged recipe 32s → 16s → 8s."""

import keras


def initialize_from(finer: keras.Model, coarser: keras.Model) -> list[str]:
    """Initialise a finer network from a trained coarser one: the staged recipe 32s → 16s → 8s (section 4.3).

    The weights of every layer that both have are copied. Layers that only the finer network has keep their initial
    values, zero scores and bilinear up-sampling, so its predictions differ from the coarser network's by a second
    bilinear step only.

    Args:
        finer: network that receives the weights, such as FCN-16s.
        coarser: trained network with the same backbone, such as FCN-32s.

    Returns:
        Names of the layers whose weights were copied.

    Raises:
        ValueError: if a shared layer differs in shape, or the two share no score layer. Nothing is copied then.

    Example:
        >>> initialize_from(FCN16s(classes=3), FCN32s(classes=3))
    """
    sources = {layer.name: layer for layer in coarser.layers if layer.weights}
    shared = [layer for layer in finer.layers if layer.weights and layer.name in sources]
    for layer in shared:
        want = [tuple(weight.shape) for weight in layer.weights]
        have = [tuple(weight.shape) for weight in sources[layer.name].weights]
        if want != have:
            raise ValueError(f"layer {layer.name!r} has shapes {want} in {finer.name} and {have} in {coarser.name}")
    names = [layer.name for layer in shared]
    if "score_fr" not in names:
        raise ValueError(f"{finer.name} and {coarser.name} share no score layer; they share {names or 'nothing'}")
    for layer in shared:
        layer.set_weights(sources[layer.name].get_weights())
    return names
