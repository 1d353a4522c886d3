"""Scene labelling by one convolutional network on an image pyramid (Farabet, Couprie, Najman & LeCun, PAMI 2013).

A picture becomes the bands of a Laplacian pyramid in YUV, each normalised to the same local contrast. One convolutional
network, with one set of weights, reads all scales; its maps of the coarser scales are up-sampled to the finest one and
concatenated. So the features of each position see its details and, four times as wide, its surroundings (section 3.1).
A linear classifier trains the features; then a network with one hidden layer is trained on them (section 3.2).

Layers 1 and 2 of the network are banks of 7×7 filters, tanh and 2×2 max-pooling, and layer 3 is a bank of filters only.
Filters of layer 1 see either luminance or both chrominances, those of layers 2 and 3 a random half of the maps before.

Instead of this network, the pyramid can be read by the layers of any registered backbone up to its stride of 8, whose
receptive field is about as large. Then neither YUV nor local normalisation is applied, as a backbone has a
normalisation of its own.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from keras_segattn import graph, registry
from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_classifier, check_positive_integer, scaled
from keras_segattn.fields import Picture
from keras_segattn.inputs import image_input, source_input
from keras_segattn.layers import (
    CropToReference,
    ImagePyramid,
    LocalContrastNormalization,
    RGBToYUV,
    SparseConv2D,
    Upsample,
)
from keras_segattn.layers.sparse_conv2d import random_table
from keras_segattn.registry import Card, Paper, register

PICTURE = Picture(mean=(127.5,) * 3, std=(127.5,) * 3)
NEIGHBOURHOOD = 15
KERNEL = 7
LUMINANCE_FILTERS, CHROMINANCE_FILTERS = 10, 6
WIDTHS = (16, 64, 256)
# Number of maps of the layer before that a filter of layers 2 and 3 sees.
CONNECTIONS = (8, 32)
# The network has a receptive field of 46 pixels and a stride of 4. With 21 zeros on each side, n pixels give n / 4
# positions; 3 more zeros below and to the right make it ceil(n / 4) for every n, and change nothing for multiples of 4.
STRIDE, BEFORE, AFTER = 4, 21, 24
BACKBONE_STRIDE = 8

Network = Callable[[Any], Any]


@register(
    Card(
        paper=Paper(
            "Learning Hierarchical Features for Scene Labeling",
            "Farabet, Couprie, Najman & LeCun",
            "PAMI",
            2013,
        ),
        task="segment",
        inputs={"image": PICTURE},
        published={"input_shape": (240, 320, 3)},
        parameters=1_223_566,
        tiny={"input_shape": (32, 48, 3), "classes": 5, "alpha": 0.25, "hidden": 16},
        claims={"int8", "dynamic_size", "mixed_precision"},
    )
)
def MultiScaleConvNet(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    classes: int = 8,
    classifier_activation: str | None = None,
    name: str = "multi_scale_conv_net",
    *,
    backbone: str | None = None,
    alpha: float = 1.0,
    scales: int = 3,
    pyramid: str | None = None,
    sparse: bool = True,
    seed: int = 0,
    hidden: int | None = 1024,
    interpolation: str = "nearest",
) -> keras.Model:
    """Multi-scale convolutional network for scene labelling (Farabet et al. 2013).

    Args:
        include_top: whether to classify the features; without, the output is the map of features.
        weights: `None` (random), the name of weights packaged for the backbone (such as `"imagenet"` with
            `backbone="efficientnet_lite0"`), or the path of a weight file of the whole network.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(None, None, 3)`: any size from 1 pixel up. With other than
            3 channels there is no YUV, and all filters of layer 1 see all channels.
        classes: number of classes.
        classifier_activation: `None` for logits, `"softmax"` for probabilities.
        name: name of the model.
        backbone: registered backbone with a tap at stride 8 as the shared network; `None` for the published network.
        alpha: width multiplier of the shared network; the published network's connections grow with it.
        scales: number of levels of the pyramid; 1 is the paper's single-scale network.
        pyramid: `"laplacian"` or `"gaussian"`; `None` is `"laplacian"` for the published network, and `"gaussian"` for
            a backbone, because backbones are trained on pictures.
        sparse: whether filters see only some of the maps, as published, or all of them.
        seed: seed of the tables that say which maps they see.
        hidden: number of hidden units of the classifier; `None` for the linear classifier that trains the features.
        interpolation: `"nearest"` or `"bilinear"` up-sampling of coarse maps and of the scores.

    Returns:
        Model from preprocessed images `(batch, height, width, channels)` float32 to logits
        `(batch, height, width, classes)` (any real value); without the top to features
        `(batch, ceil(height / 4), ceil(width / 4), 256 alpha scales)` (any real value), of stride 8 with a backbone.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weights are not installed or do not fit.

    Example:
        >>> model = MultiScaleConvNet(classes=8)
        >>> model(preprocessing_of(model)(images)).shape
        TensorShape([4, 240, 320, 8])
    """
    check_classifier(include_top, classes, classifier_activation)
    check_positive_integer("scales", scales)
    check_choice("pyramid", pyramid, (None, "laplacian", "gaussian"))
    check_choice("sparse", sparse, (True, False))
    if hidden is not None:
        check_positive_integer("hidden", hidden)
    image = image_input(input_tensor, input_shape, "MultiScaleConvNet", PICTURE if backbone is None else None)

    packaged = None
    if backbone is None:
        levels = normalised_levels(image, scales, pyramid or "laplacian")
        network, stride = shared_network(image.shape[-1], alpha, sparse, seed), STRIDE
    else:
        levels = as_list(ImagePyramid(scales, pyramid or "gaussian", name="pyramid")(image))
        packaged = weights if weights in registry.model_card(backbone).pretrained else None
        network, stride = shared_backbone(levels[0], backbone, packaged, alpha), BACKBONE_STRIDE

    finest, *coarser = [network(level) for level in levels]
    maps = [finest]
    for number, coarse in enumerate(coarser, start=1):
        enlarged = Upsample(2**number, interpolation, name=f"upsample_scale{number + 1}")(coarse)
        maps.append(CropToReference(name=f"crop_scale{number + 1}")(enlarged, finest))
    x = layers.Concatenate(name="features")(maps) if coarser else finest
    if include_top:
        if hidden is not None:
            x = layers.Conv2D(hidden, 1, activation="tanh", name="hidden")(x)
        x = layers.Conv2D(classes, 1, name="linear" if hidden is None else "scores")(x)
        x = Upsample(stride, interpolation, name="upsample_scores")(x)
        x = CropToReference(name="crop_scores")(x, image)
        if classifier_activation is not None:
            x = layers.Activation(classifier_activation, name="predictions")(x)
    model = keras.Model(source_input(image), x, name=name)
    if packaged is None:
        weight_files.initialize(model, weights, {}, backbone=not include_top)
    return model


def as_list(levels: Any) -> list[Any]:
    """Return the levels of a pyramid as a list, also if there is only one."""
    return list(levels) if isinstance(levels, list | tuple) else [levels]


def normalised_levels(image: Any, scales: int, kind: str) -> list[Any]:
    """Return the levels of the pyramid in YUV, each with zero mean and unit variance in every neighbourhood."""
    x = RGBToYUV(name="yuv")(image) if image.shape[-1] == 3 else image
    return [
        LocalContrastNormalization(NEIGHBOURHOOD, name=f"normalise_scale{number}")(level)
        for number, level in enumerate(as_list(ImagePyramid(scales, kind, name="pyramid")(x)), start=1)
    ]


def shared_network(channels: int, alpha: float, sparse: bool, seed: int) -> Network:
    """Make the layers of the published network, and return the function that applies them to one level.

    Args:
        channels: number of channels of a level; 3 are Y, U and V.
        alpha: width multiplier.
        sparse: whether the filters see only some of the maps.
        seed: seed of the tables of connections.
    """
    pad = layers.ZeroPadding2D(((BEFORE, AFTER), (BEFORE, AFTER)), name="pad")
    widths = [scaled(width, alpha) for width in WIDTHS]
    if sparse and channels == 3:
        split = scaled(LUMINANCE_FILTERS, alpha), scaled(CHROMINANCE_FILTERS, alpha)
        widths[0] = sum(split)
        parts = [
            SparseConv2D([(0,)] * split[0], KERNEL, name="conv1_y"),
            SparseConv2D([(1, 2)] * split[1], KERNEL, name="conv1_uv"),
        ]
        join = layers.Concatenate(name="conv1")
    else:
        parts = [layers.Conv2D(widths[0], KERNEL, name="conv1")]
        join = None
    banks: list[Any] = []
    for number, connections in enumerate(CONNECTIONS, start=2):
        filters, maps, bank = widths[number - 1], widths[number - 2], f"conv{number}"
        if sparse:
            table = random_table(filters, maps, min(maps, scaled(connections, alpha)), (seed, number))
            banks.append(SparseConv2D(table, KERNEL, name=bank))
        else:
            banks.append(layers.Conv2D(filters, KERNEL, name=bank))
    tanhs = [layers.Activation("tanh", name=f"tanh{number}") for number in (1, 2)]
    pools = [layers.MaxPooling2D(2, name=f"pool{number}") for number in (1, 2)]

    def apply(level: Any) -> Any:
        x = pad(level)
        x = parts[0](x) if join is None else join([part(x) for part in parts])
        for tanh, pool, bank in zip(tanhs, pools, banks, strict=True):
            x = bank(pool(tanh(x)))
        return x

    return apply


def shared_backbone(level: Any, backbone: str, weights: str | None, alpha: float) -> Network:
    """Make the layers of a backbone up to its stride of 8, and return the function that applies them to one level.

    Raises:
        ValueError: if the backbone declares no map of that stride.
    """
    card = registry.model_card(backbone)
    names = {tap.stride: layer for layer, tap in card.taps.items()}
    if BACKBONE_STRIDE not in names:
        raise ValueError(
            f"the pyramid needs a backbone with a tap at stride {BACKBONE_STRIDE}, {card.name} declares "
            f"{dict(card.taps)}"
        )
    shape = (None, None, level.shape[-1])
    network = card.builder(include_top=False, input_shape=shape, weights=weights, alpha=alpha, **card.aligned)
    network = keras.Model(network.input, network.get_layer(names[BACKBONE_STRIDE]).output)
    return lambda image: applied(network, image)


def applied(network: keras.Model, image: Any) -> Any:
    """Call the layers of a network once more, on another image, without a model inside the model."""
    made = {id(network.input): image}

    def on_image(argument: Any) -> Any:
        return made.get(id(argument), argument)

    waiting = [node for node in graph.calls(network) if node.input_tensors]
    while waiting:
        ready = [node for node in waiting if all(id(tensor) in made for tensor in node.input_tensors)]
        for node in ready:
            args, kwargs = keras.tree.map_structure(on_image, (node.arguments.args, node.arguments.kwargs))
            outputs = keras.tree.flatten(node.operation(*args, **kwargs))
            made |= {id(old): new for old, new in zip(node.output_tensors, outputs, strict=True)}
        waiting = [node for node in waiting if node not in ready]
    return made[id(network.output)]
