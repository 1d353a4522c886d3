"""FCN-AlexNet: the fully convolutional network on the Caffe release of AlexNet (Long et al., CVPR 2015).

This is the authors' `voc-fcn-alexnet`: the image is zero-padded by 100, the classifier of CaffeNet becomes
convolutional, and its scores are up-sampled in one step of 32 by a 63×63 bilinear kernel. The module `fcn` has the
VGG16 networks.
"""

from typing import Any

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_classifier, scaled
from keras_segattn.classification import CaffeNet
from keras_segattn.inputs import image_input, source_input
from keras_segattn.registry import register
from keras_segattn.segmentation.fcn import PREPROCESSING, fcn_card, preprocess_input
from keras_segattn.segmentation.fcn_parts import convolutional_classifier, crop_to_image, score, upsample

__all__ = ["FCNAlexNet", "preprocess_input"]

IMAGE_PADDING = 100


@register(fcn_card(parameters=58_704_590))
def FCNAlexNet(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    classes: int = 21,
    classifier_activation: str | None = None,
    name: str = "fcn_alexnet",
    *,
    alpha: float = 1.0,
    learn_upsampling: bool = False,
) -> keras.Model:
    """FCN-AlexNet (Long et al. 2015): CaffeNet made convolutional, up-sampled in one step of 32.

    Arguments, output and errors are those of `FCN8s`; the backbone is CaffeNet.

    Example:
        >>> model = FCNAlexNet(classes=3)
    """
    check_classifier(include_top, classes, classifier_activation)
    check_choice("learn_upsampling", learn_upsampling, (True, False))
    image = image_input(input_tensor, input_shape, "FCNAlexNet", PREPROCESSING)
    padded = layers.ZeroPadding2D(IMAGE_PADDING, name="pad")(image)
    backbone = CaffeNet(include_top=False, input_tensor=padded, alpha=alpha)
    x = convolutional_classifier(backbone.get_layer("pool5").output, 6, scaled(4096, alpha))
    if include_top:
        x = upsample(score(x, classes, "score_fr"), 32, learn_upsampling, "upscore", kernel=63)
        x = crop_to_image(x, image, 18, classifier_activation)
    model = keras.Model(source_input(image), x, name=name)
    weight_files.initialize(model, weights, {}, backbone=not include_top)
    return model
