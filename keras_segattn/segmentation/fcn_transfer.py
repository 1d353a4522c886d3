"""From a trained coarse network to the start of a finer one: the staged recipe 32s → 16s → 8s."""

import keras


def initialize_from(finer: keras.Model, coarser: keras.Model) -> list[str]:
    """Start a finer network from a trained coarser one: the staged recipe 32s → 16s → 8s (section 4.3).

    Every layer that both have is copied. What only the finer network has keeps its start: zero scores and
    bilinear up-sampling, so that it predicts what the coarser one does up to a second bilinear step.

    Args:
        finer: network that receives the weights, such as FCN-16s.
        coarser: trained network with the same trunk, such as FCN-32s.

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
