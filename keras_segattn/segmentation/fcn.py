"""Fully convolutional networks for semantic segmentation (Long, Shelhamer & Darrell, CVPR 2015; PAMI 2017).

FCN-32s, 16s and 8s on VGG16 in the authors' released form, layer by layer: the image is zero-padded by 100 so that
the 7×7 `fc6` fits any size, poolings round up, the up-sampled maps are cropped at fixed offsets, score layers start
at zero and transposed convolutions as bilinear interpolation. `fcn_alexnet` does the same to CaffeNet.

Any other registered backbone with maps at strides 8, 16 and 32 can have the same heads, with "same" padding instead of
the pad-100 trick. The backbone's own maps are then scored directly (as the paper does with GoogLeNet), without `fc6`
and `fc7`, which are VGG's.

A stream is one of these maps with its scores, which are summed with those of the other streams.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import layers

from keras_segattn import registry
from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_classifier
from keras_segattn.classification.vgg import CONFIGURATIONS, backbone_weight_names
from keras_segattn.fields import Picture
from keras_segattn.inputs import image_input, source_input
from keras_segattn.registry import Card, Paper, register
from keras_segattn.segmentation.fcn_parts import backbone_streams, crop_to_image, fuse, score, upsample, vgg16_streams

PREPROCESSING = Picture("BGR", mean=(104.00699, 116.66877, 122.67892))
PAPER = Paper(
    "Fully Convolutional Networks for Semantic Segmentation",
    "Long, Shelhamer & Darrell",
    "CVPR",
    2015,
    "1411.4038",
)
# Fixed factors of pool3 and pool4 in the at-once networks; they only balance the gradients of the three streams.
AT_ONCE_SCALES = {8: 1e-4, 16: 1e-2}

# torchvision's classifier names: an ImageNet VGG16 file fills fc6 and fc7, reshaped to convolutions.
WEIGHT_NAMES = backbone_weight_names(CONFIGURATIONS["VGG16"]) | {
    "fc6": ("fc1", "classifier.0"),
    "fc7": ("fc2", "classifier.3"),
}


def preprocess_input(images: Any) -> Any:
    """Convert RGB images `(..., 3)`, 0..255, to float32 BGR minus the mean, as the VGG16 and AlexNet forms expect.

    Other backbones have a normalisation of their own: `keras_segattn.preprocessing_of(model)` finds it.
    """
    return PREPROCESSING(images)


FCN16_DOCUMENTATION = """\
FCN-16s (Long et al. 2015): the stride-32 scores summed with those of pool4, then up-sampled by 16.

Arguments, output and errors are those of `FCN8s`.

Example:
    >>> finer = FCN16s(classes=3, backbone="squeezenet1_1")
    >>> initialize_from(finer, coarse)
"""

FCN8_DOCUMENTATION = """\
FCN-8s (Long et al. 2015): the scores of strides 32, 16 (pool4) and 8 (pool3), summed, up-sampled by 8.

Args:
    include_top: whether to add scores and up-sampling; without them, the output is the stride-32 map.
    weights: `None` (random backbone, zero scores), the name of weights packaged for the backbone (such as
        `"imagenet"` with `backbone="squeezenet1_1"`), or the path of a weight file of the whole network.
    input_tensor: symbolic tensor to build on, instead of `input_shape`.
    input_shape: `(height, width, channels)`, default `(None, None, 3)`: any size from 1 pixel up.
    classes: number of classes, background included.
    classifier_activation: `None` for logits, `"softmax"` for probabilities.
    name: name of the model.
    backbone: `"vgg16"` for the released pad-100 form, or a registered backbone with taps at strides 8 and 16.
    alpha: width multiplier of the backbone and of fc6 and fc7.
    learn_upsampling: whether the transposed convolutions are trained; the release keeps them bilinear.
    at_once: whether to scale pool4 by 0.01 and pool3 by 0.0001 before they are scored, so that all streams can
        be trained from the start instead of in stages.

Returns:
    Model from preprocessed images `(batch, height, width, channels)` float32 to logits
    `(batch, height, width, classes)` (any real value).

Raises:
    ValueError: if an argument or a shape is wrong.
    keras_segattn.weights.WeightsError: if the weights are not installed or do not fit.

Example:
    >>> model = FCN8s(classes=3, weights="imagenet", backbone="squeezenet1_1")
    >>> model(preprocessing_of(model)(images)).shape
    TensorShape([4, 256, 256, 3])
"""


def _fcn(finest: int, documentation: str | None = None) -> Callable[..., keras.Model]:
    """Make the builder of a network whose finest scored map has stride `finest`: 32, 16 or 8 pixels."""

    def build(
        include_top: bool = True,
        weights: str | None = None,
        input_tensor: Any = None,
        input_shape: tuple[int | None, ...] | None = None,
        classes: int = 21,
        classifier_activation: str | None = None,
        name: str = f"fcn{finest}s",
        *,
        backbone: str = "vgg16",
        alpha: float = 1.0,
        learn_upsampling: bool = False,
        at_once: bool = False,
    ) -> keras.Model:
        check_classifier(include_top, classes, classifier_activation)
        check_choice("learn_upsampling", learn_upsampling, (True, False))
        check_choice("at_once", at_once, (True, False))
        card = registry.model_card(backbone)
        picture = PREPROCESSING if card.name == "VGG16" else None
        image = image_input(input_tensor, input_shape, f"FCN{finest}s", picture)
        packaged = weights if isinstance(weights, str) and weights in card.pretrained else None
        if card.name == "VGG16":
            streams = vgg16_streams(image, finest, alpha)
        else:
            streams = backbone_streams(image, backbone, finest, packaged, alpha)

        x = streams.maps[32]
        if include_top:
            x = score(x, classes, "score_fr")
            for stride, pool, up in ((16, "pool4", "upscore2"), (8, "pool3", "upscore_pool4")):
                if stride >= finest:
                    x = upsample(x, 2, learn_upsampling, up)
                    skip = streams.maps[stride]
                    if at_once:
                        skip = layers.Rescaling(AT_ONCE_SCALES[stride], name=f"scale_{pool}")(skip)
                    x = fuse(x, score(skip, classes, f"score_{pool}"), streams, stride, pool)
            x = upsample(x, finest, learn_upsampling, "upscore" if finest == 32 else f"upscore{finest}")
            x = crop_to_image(x, image, streams.final_crop, classifier_activation)
        model = keras.Model(source_input(image), x, name=name)
        if packaged is None:
            weight_files.initialize(model, weights, card.pretrained, backbone=not include_top)
        return model

    build.__name__ = build.__qualname__ = f"FCN{finest}s"
    build.__doc__ = documentation
    return build


fcn_card = partial(
    Card,
    paper=PAPER,
    task="segment",
    inputs={"image": PREPROCESSING},
    published={"input_shape": (500, 500, 3)},
    tiny={"input_shape": (32, 48, 3), "classes": 5, "alpha": 0.0625},
    claims={"int8", "dynamic_size", "mixed_precision"},
)


@register(fcn_card(parameters=136_152_917, weight_names=WEIGHT_NAMES))
def FCN32s(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    classes: int = 21,
    classifier_activation: str | None = None,
    name: str = "fcn32s",
    *,
    backbone: str = "vgg16",
    alpha: float = 1.0,
    learn_upsampling: bool = False,
) -> keras.Model:
    """FCN-32s (Long et al. 2015): class scores at stride 32, up-sampled in one step.

    Arguments, output and errors are those of `FCN8s`; with a single stream there is no at-once form.

    Example:
        >>> coarse = FCN32s(classes=3, weights="imagenet", backbone="squeezenet1_1")
    """
    return _fcn(32)(
        include_top,
        weights,
        input_tensor,
        input_shape,
        classes,
        classifier_activation,
        name,
        backbone=backbone,
        alpha=alpha,
        learn_upsampling=learn_upsampling,
    )


FCN16s = register(fcn_card(parameters=134_815_994, weight_names=WEIGHT_NAMES))(_fcn(16, FCN16_DOCUMENTATION))
FCN8s = register(fcn_card(parameters=134_489_759, weight_names=WEIGHT_NAMES))(_fcn(8, FCN8_DOCUMENTATION))
