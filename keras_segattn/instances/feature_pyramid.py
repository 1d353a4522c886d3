"""Feature pyramid network (Lin et al., CVPR 2017, arXiv 1612.03144, section 3): maps of equal width at all strides."""

from collections.abc import Mapping
from typing import Any

from keras import layers

from keras_segattn import registry
from keras_segattn.classification.blocks import conv_bn
from keras_segattn.classification.heads import max_pool_3x3
from keras_segattn.layers import CropToReference


def backbone_maps(
    image: Any, backbone: str, weights: str | None, alpha: float, options: Mapping[str, Any]
) -> dict[int, Any]:
    """Build a registered backbone on `image` and return stride → map; one that ends at stride 16 is pooled once more.

    Raises:
        ValueError: if the backbone declares no maps at strides 4, 8 and 16.
    """
    card = registry.model_card(backbone)
    if not {4, 8, 16} <= {tap.stride for tap in card.taps.values()}:
        raise ValueError(f"expected a backbone with taps at strides 4, 8 and 16, {card.name} has {dict(card.taps)}")
    network = card.builder(
        include_top=False, input_tensor=image, weights=weights, alpha=alpha, **card.aligned, **options
    )
    maps = {tap.stride: network.get_layer(layer).output for layer, tap in card.taps.items()}
    if 32 not in maps:
        maps[32] = max_pool_3x3(maps[16], "same", name="pool_stride32")
    return maps


def convolve(x: Any, channels: int, kernel: int, normalise: bool, name: str, activation: str | None = None) -> Any:
    """Apply a convolution of a head, with a bias or with batch normalisation."""
    if normalise:
        return conv_bn(x, channels, kernel, name=name, activation=activation)
    return layers.Conv2D(
        channels, kernel, padding="same", activation=activation, kernel_initializer="he_normal", name=name
    )(x)


def feature_pyramid(maps: Mapping[int, Any], channels: int, normalise: bool) -> dict[int, Any]:
    """Return level → map of `channels`: levels 2 to 5 from the backbone's strides 4 to 32, level 6 pooled from 5."""
    laterals = {
        level: convolve(maps[2**level], channels, 1, normalise, f"fpn_lateral{level}") for level in range(5, 1, -1)
    }
    x = laterals[5]
    pyramid = {5: convolve(x, channels, 3, normalise, "fpn_output5")}
    for level in (4, 3, 2):
        fine = laterals[level]
        x = layers.UpSampling2D(2, name=f"fpn_upsample{level}")(x)
        if None in fine.shape[1:3] or x.shape[1:3] != fine.shape[1:3]:  # half of an odd size was rounded up
            x = CropToReference(name=f"fpn_crop{level}")(x, fine)
        x = layers.Add(name=f"fpn_sum{level}")([fine, x])
        pyramid[level] = convolve(x, channels, 3, normalise, f"fpn_output{level}")
    pyramid[6] = layers.MaxPooling2D(1, 2, name="fpn_pool6")(pyramid[5])
    return dict(sorted(pyramid.items()))
