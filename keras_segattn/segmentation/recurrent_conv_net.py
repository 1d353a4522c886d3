"""Recurrent convolutional networks for scene labelling (Pinheiro & Collobert, ICML 2014, arXiv 1306.2795).

One network f labels the centre pixel of a patch. It is applied several times with the same weights. Instance p reads
`[F^(p-1), I^p]`: the class planes that instance p - 1 computed, zeros at first, and the picture at their resolution.
Convolutions have no padding, so that a patch shrinks to one pixel:

    CNN1     6×6 conv, 8×8 pool, tanh, 3×3 conv, 2×2 pool, tanh, 7×7 conv    133 → 1 (not recurrent)
    rCNN2    8×8 conv, 2×2 pool, tanh, 8×8 conv, 2×2 pool, tanh, 1×1 conv    121 → 25 → 1
    rCNN3    8×8 conv, 2×2 pool, tanh, 8×8 conv, tanh, 1×1 conv              155 → 67 → 23 → 1

The literal list of rCNN3 has no second tanh, which makes one linear map of its last two layers; `second_tanh=False` is
that list.

**Every pixel.** Sliding the patch network over a picture that is padded by (patch - 1) / 2 on every side labels every
pixel. Shift-and-stitch runs the strided network on all shifts of the picture and interleaves the results. It computes
the maps of stride s of all shifts, which together are one map of stride 1 whose pixels belong together if they are s
apart. The labelling network computes this map directly: each pooling has stride 1, and all that follows it reads pixels
that are s times as far apart (à trous). It gives exactly the scores of the patch network at each pixel, and computes
what neighbouring patches share only once. Its borders are padded by zeros, which is the mean colour.

**Every other pixel.** The paper also labels at half resolution: it leaves out half of the shifts in each direction. The
first pooling then keeps its stride of 2, and all that follows has a quarter of the pixels. `stride=2` does this, and
repeats each score in the pixels between; the next instance reads only those that were computed.

**The picture at the resolution of the planes.** Shared maps suffice only if the input of instance p is the same in all
patches that contain it: a shift of the patch by the stride s must shift I^p by one pixel, as it shifts F^(p-1). With
`rescale="valid"`, I^p is the part of I^(p-1) on which F^(p-1) is valid, resized bilinearly to the size of F^(p-1). Its
n · s pixels become n, with a margin of (field - s) / 2, so that pixel j reads position (field - 1) / 2 + s · j. That is
the centre of the field of plane pixel j, and a whole pixel. With `rescale="whole"`, the whole I^(p-1) is resized,
margins included. In rCNN3, a shift by s = 2 then moves I^2 by 2 · 67 / 155 pixels instead of 1. Planes and picture
drift apart towards the borders, no map of the picture holds the inputs of two patches, and the second instance of a
deep network is not that of a shallow one. Only the patch network has this form.
"""

from dataclasses import replace
from functools import partial
from math import gcd, prod
from typing import Any, NamedTuple

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_classifier, check_positive_integer
from keras_segattn.fields import IMAGENET
from keras_segattn.inputs import image_input, source_input
from keras_segattn.layers import CropToReference, DilatedConv2D, DilatedMaxPooling2D
from keras_segattn.registry import Card, Paper, register

# About zero mean and unit variance.
PREPROCESSING = replace(IMAGENET, size=None, fit="stretch")


class Network(NamedTuple):
    """Layers of one network.

    Attributes:
        stages: (side of the kernel, side of the pooling window) of each hidden convolution.
        head: side of the kernel that scores the classes.
        instances: number of instances in the paper's largest model; a network of one instance is not recurrent.
    """

    stages: tuple[tuple[int, int], tuple[int, int]]
    head: int
    instances: int

    @property
    def stride(self) -> int:
        """Distance, in pixels of the input, between neighbouring pixels of the planes."""
        return prod(pool for _, pool in self.stages)

    def input_size(self, output_size: int) -> int:
        """Return the side of the input that one instance turns into planes of side `output_size`."""
        size = output_size + self.head - 1
        for kernel, pool in reversed(self.stages):
            size = size * pool + kernel - 1
        return size


NETWORKS = {
    "cnn1": Network(((6, 8), (3, 2)), 7, 1),
    "rcnn2": Network(((8, 2), (8, 2)), 1, 2),
    "rcnn3": Network(((8, 2), (8, 1)), 1, 3),
}


def preprocess_input(images: Any) -> Any:
    """Convert RGB images `(..., 3)`, 0..255, to float32 with about zero mean and unit variance."""
    return PREPROCESSING(images)


def patch_size(network: str = "rcnn3", instances: int | None = None) -> int:
    """Return the side of the patch that a network turns into the scores of its centre pixel.

    Args:
        network: `"cnn1"`, `"rcnn2"` or `"rcnn3"`.
        instances: number of instances; `None` is 1, 2 and 3.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> patch_size("rcnn3", 2)
        67
    """
    layout, depth = _layout(network, instances)
    size = 1
    for _ in range(depth):
        size = layout.input_size(size)
    return size


def depths(model: keras.Model) -> list[str]:
    """Name the layers with the scores of all instances but the last, which training penalises, too (section 3.2).

    Args:
        model: model that `RecurrentConvNet` built.

    Returns:
        Names for the argument `supervised` of `train_segmenter`; none for a network of one instance.

    Example:
        >>> depths(RecurrentConvNet())
        ['scores_1', 'scores_2']
    """
    return [layer.name for layer in model.layers if layer.name.startswith("scores_")][:-1]


@register(
    Card(
        paper=Paper(
            "Recurrent Convolutional Neural Networks for Scene Labeling",
            "Pinheiro & Collobert",
            "ICML",
            2014,
            "1306.2795",
        ),
        task="segment",
        inputs={"image": PREPROCESSING},
        published={"input_shape": (240, 320, 3)},
        parameters=98_083,
        # Not 5 classes, because oneDNN's 8×8 convolutions of 8 channels in bfloat16 are wrong on CPUs with AMX.
        tiny={"input_shape": (32, 48, 3), "classes": 4, "widths": (4, 6), "instances": 2},
        claims={"int8", "dynamic_size", "mixed_precision"},
    )
)
def RecurrentConvNet(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    classes: int = 8,
    classifier_activation: str | None = None,
    name: str = "recurrent_conv_net",
    *,
    network: str = "rcnn3",
    instances: int | None = None,
    widths: tuple[int, int] = (25, 50),
    feedback: str = "scores",
    second_tanh: bool = True,
    patches: bool = False,
    stride: int = 1,
    rescale: str = "valid",
) -> keras.Model:
    """Recurrent convolutional network (Pinheiro & Collobert 2014): rCNN3∘3, or any other of the paper's networks.

    The labelling network and the patch network (`patches=True`) have the same layers and weights:
    `labelling.set_weights(patch.get_weights())`, also if they have different numbers of instances.

    Args:
        include_top: whether to add the last instance's scores; without them, the output is the map that they read.
        weights: `None` (random), or the path of a weight file.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(None, None, 3)`: any size from 1 pixel up. A patch has the
            size that `patch_size` returns.
        classes: number of classes.
        classifier_activation: `None` for logits, `"softmax"` for probabilities.
        name: name of the model.
        network: `"cnn1"` (plain), `"rcnn2"` or `"rcnn3"`.
        instances: number of instances; `None` is 1, 2 and 3, as in the paper's largest models.
        widths: numbers of planes of the two hidden convolutions: 25 and 50 for Stanford Background.
        feedback: `"scores"` to feed back raw class planes, `"softmax"` for probabilities.
        second_tanh: whether a tanh follows the second convolution; the list of rCNN3 in the paper has none.
        patches: whether to build the network of one patch, which scores its centre pixel.
        stride: distance in pixels between the rows and columns that are scored: 1 for every pixel, 2 for the paper's
            half resolution, or another divisor of the strides of all poolings. Scores between them are repeated.
        rescale: `"valid"` to resize the part of the picture on which the planes are valid, `"whole"` to resize the
            whole patch, which only the patch network can do (see the module's description).

    Returns:
        Model from preprocessed images `(batch, height, width, channels)` float32 to logits
        `(batch, height, width, classes)`, any real value; from patches to `(batch, 1, 1, classes)`.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weights do not fit.

    Example:
        >>> model = RecurrentConvNet(classes=11)
        >>> model(preprocess_input(images)).shape
        TensorShape([4, 180, 240, 11])
    """
    check_classifier(include_top, classes, classifier_activation)
    layout, depth = _layout(network, instances)
    if not isinstance(widths, tuple | list) or len(widths) != len(layout.stages):
        raise ValueError(f"widths must be {len(layout.stages)} numbers of planes, received {widths!r}")
    for width in widths:
        check_positive_integer("widths", width)
    check_choice("feedback", feedback, ("scores", "softmax"))
    check_choice("second_tanh", second_tanh, (True, False))
    check_choice("patches", patches, (True, False))
    check_positive_integer("stride", stride)
    if (patches and stride != 1) or layout.stride**depth % stride:
        raise ValueError(
            f"stride must divide {layout.stride**depth}, the strides of all poolings together, and be 1 for patches; "
            f"received {stride} with patches={patches}"
        )
    check_choice("rescale", rescale, ("valid", "whole"))
    if rescale == "whole" and not patches:
        raise ValueError(
            "rescale='whole' needs patches=True: pictures that are resized with each patch share no maps, see "
            f"{__name__}"
        )
    side = patch_size(network, depth)
    if patches:
        image = image_input(input_tensor, input_shape, "RecurrentConvNet", PREPROCESSING, default=(side, side, 3))
        if tuple(image.shape[1:3]) != (side, side):
            raise ValueError(f"a patch of {network} with {depth} instances has {side}×{side} pixels: {image.shape}")
        picture = image
    else:
        image = image_input(input_tensor, input_shape, "RecurrentConvNet", PREPROCESSING)
        picture = layers.ZeroPadding2D((side - 1) // 2, name="pad")(image)

    planes = classes if layout.instances > 1 else 0
    convolutions = [
        DilatedConv2D(width, kernel, input_channels, name=f"conv{number}")
        for number, (width, (kernel, _), input_channels) in enumerate(
            zip(widths, layout.stages, (planes + image.shape[-1], None), strict=True), start=1
        )
    ]
    head = DilatedConv2D(classes, layout.head, name="score")
    x: Any = None
    # Poolings keep their strides until every `step`-th pixel is left. From then on they have stride 1, and all that
    # follows reads pixels that are `dilation` apart.
    step, dilation = layout.stride**depth if patches else stride, 1
    taken = 1  # distance in pixels of the picture between neighbouring pixels of the map
    for number in range(1, depth + 1):
        first, before = dilation, taken
        if number > 1:
            if feedback == "softmax":
                x = layers.Softmax(name=f"planes_{number - 1}")(x)
            x = layers.Concatenate(name=f"input_{number}")([x, picture])
        else:
            x = picture  # the class planes are zeros, which `conv1` leaves out
        for stage, (convolution, (_, pool)) in enumerate(zip(convolutions, layout.stages, strict=True), start=1):
            x = convolution(x, dilation=dilation)
            if pool > 1:
                kept = gcd(pool, step // taken)
                x = _pooling(pool, kept, dilation, f"pool{stage}_{number}")(x)
                taken, dilation = taken * kept, dilation * pool // kept
            if stage == 1 or second_tanh:
                x = layers.Activation("tanh", name=f"tanh{stage}_{number}")(x)
        if not include_top and number == depth:
            break
        x = head(x, dilation=dilation)
        # The shared layer has one output per instance; a layer of its own gives each a name.
        repeat = layers.Identity if patches or taken == 1 else partial(layers.UpSampling2D, taken)
        x = repeat(name=f"scores_{number}")(x)
        if number < depth:
            picture = _rescaled(picture, x, layout, first, taken // before, rescale, f"image_{number + 1}")
            if not patches and taken > 1:
                x = layers.MaxPooling2D(1, taken, name=f"computed_{number}")(x)
        elif stride > 1:
            x = CropToReference(name="crop")(x, image)  # a repeated last row of an odd number
    if include_top and classifier_activation is not None:
        x = layers.Activation(classifier_activation, name="predictions")(x)
    model = keras.Model(source_input(image), x, name=name)
    weight_files.initialize(model, weights, {}, backbone=not include_top)
    return model


def _layout(network: str, instances: int | None) -> tuple[Network, int]:
    """Return the layers of a network and the number of its instances."""
    check_choice("network", network, tuple(NETWORKS))
    layout = NETWORKS[network]
    if instances is None:
        return layout, layout.instances
    check_positive_integer("instances", instances)
    if layout.instances == 1 < instances:
        raise ValueError(f"{network} is not recurrent: expected instances=1, received {instances}")
    return layout, instances


def _pooling(pool: int, stride: int, dilation: int, name: str) -> keras.layers.Layer:
    """Return a max pooling with a stride, or over every pixel."""
    if stride > 1:
        return layers.MaxPooling2D(pool, stride, name=name)
    return DilatedMaxPooling2D(pool, dilation, name=name)


def _rescaled(picture: Any, planes: Any, layout: Network, dilation: int, stride: int, rescale: str, name: str) -> Any:
    """Rescale the picture that an instance read to the size of the planes that it computed.

    Args:
        picture: picture at the resolution of the instance's input.
        planes: class planes that it computed.
        layout: layers of the network.
        dilation: distance between the pixels that the instance's first layer read.
        stride: stride of its planes, in pixels of its input.
        rescale: `"valid"` or `"whole"`, see the module's description.
        name: name of the layer.
    """
    if rescale == "whole":
        return layers.Resizing(*planes.shape[1:3], interpolation="bilinear", name=name)(picture)
    margin = (layout.input_size(1) - 1) // 2 * dilation
    if stride == 1:
        return layers.Cropping2D(margin, name=name)(picture)
    # A pooling of single pixels reads every pixel that the bilinear resizing would read.
    valid = layers.Cropping2D(margin, name=f"valid_{name}")(picture)
    return layers.MaxPooling2D(1, stride, name=name)(valid)
