"""Names of MNC's layers in the released Caffe network, and conversion of values that differ there."""

from collections.abc import Mapping

import numpy as np

from keras_segattn.classification.vgg import CONFIGURATIONS, backbone_weight_names

# All other layers have the released names.
WEIGHT_NAMES: dict[str, tuple[str, ...]] = {
    **backbone_weight_names(CONFIGURATIONS["VGG16"]),
    "rpn_conv_3x3": ("rpn_conv/3x3",),
    "fc6_box": ("fc6",),
    "fc7_box": ("fc7",),
}
# The released file predicts refinements in units of box sizes; our layers predict multiples of the usual deviations.
BOX_WEIGHTS = np.array((10.0, 10.0, 5.0, 5.0), "float32")


def translate(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Normalise the refinements in a Caffe file's tensors (the released training code saves them unnormalised)."""
    tensors = dict(tensors)
    for blob in ("blob0", "blob1"):
        if (name := f"bbox_pred.{blob}") in tensors:
            value = tensors[name]
            tensors[name] = (value.reshape(-1, 4, value.size // value.shape[0]) * BOX_WEIGHTS[:, None]).reshape(
                value.shape
            )
    return tensors
