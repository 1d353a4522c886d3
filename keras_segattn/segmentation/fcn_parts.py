"""Parts of fully convolutional networks: the maps of a backbone, and the heads that score and up-sample them."""

from typing import Any, NamedTuple

from keras import layers

from keras_segattn import registry
from keras_segattn.arguments import scaled
from keras_segattn.classification import VGG16
from keras_segattn.classification.heads import max_pool_3x3
from keras_segattn.layers import BilinearInitializer, CropToReference, TransposedConv2D

# Zeros around the image: conv1_1 pads 100 in the release; here its own "same" padding adds the last one.
IMAGE_PADDING = 99


class Streams(NamedTuple):
    """The streams of a network: the maps to score, and the offsets by which the heads align their scores.

    Attributes:
        maps: stride → feature map.
        crops: stride of a skip → first row and column of its scores that the coarser map covers. `None` if the
            backbone is "same"-padded; the up-sampled scores then overhang the skip and are cropped instead.
        final_crop: first row and column of the last up-sampled map that belongs to the image.
    """

    maps: dict[int, Any]
    crops: dict[int, int] | None
    final_crop: int


def convolutional_classifier(x: Any, kernel: int, channels: int) -> Any:
    """Apply the two hidden fully connected layers of a classifier as convolutions, with dropout (section 3.1)."""
    for layer, size in (("fc6", kernel), ("fc7", 1)):
        x = layers.Conv2D(channels, size, activation="relu", name=layer)(x)
        x = layers.Dropout(0.5, name=layer.replace("fc", "drop"))(x)
    return x


def score(x: Any, classes: int, name: str) -> Any:
    """Compute class scores by a 1×1 convolution that starts at zero, so that a new stream changes no prediction."""
    return layers.Conv2D(classes, 1, kernel_initializer="zeros", name=name)(x)


def upsample(x: Any, factor: int, learn: bool, name: str, kernel: int | None = None) -> Any:
    """Up-sample by a transposed convolution without bias, full between classes, initially bilinear (section 3.3)."""
    return TransposedConv2D(
        x.shape[-1],
        kernel or 2 * factor,
        factor,
        use_bias=False,
        kernel_initializer=BilinearInitializer(),
        trainable=learn,
        name=name,
    )(x)


def vgg16_streams(image: Any, finest: int, alpha: float) -> Streams:
    """Return the maps of the released VGG16 form: fc7 at stride 32, pool4 at 16, pool3 at 8."""
    padded = layers.ZeroPadding2D(IMAGE_PADDING, name="pad")(image)
    backbone = VGG16(include_top=False, input_tensor=padded, alpha=alpha, padding="same")
    maps = {
        8: backbone.get_layer("block3_pool").output,
        16: backbone.get_layer("block4_pool").output,
        32: convolutional_classifier(backbone.get_layer("block5_pool").output, 7, scaled(4096, alpha)),
    }
    return Streams(maps, crops={16: 5, 8: 9}, final_crop={32: 19, 16: 27, 8: 31}[finest])


def backbone_streams(image: Any, backbone: str, finest: int, weights: str | None, alpha: float) -> Streams:
    """Return the maps of any registered backbone at strides 8, 16 and 32, "same"-padded.

    Raises:
        ValueError: if the backbone declares no maps at strides 8 and 16.
    """
    card = registry.model_card(backbone)
    taps = {tap.stride: layer for layer, tap in card.taps.items()}
    if not {8, 16} <= set(taps):
        raise ValueError(
            f"an FCN needs a backbone with taps at strides 8, 16 and 32, {card.name} declares {dict(card.taps)}"
        )
    network = card.builder(include_top=False, input_tensor=image, weights=weights, alpha=alpha, **card.aligned)
    maps = {stride: network.get_layer(layer).output for stride, layer in taps.items()}
    if 32 not in maps:  # a backbone that ends at stride 16 (SqueezeNet) is pooled once more, as it pools itself
        maps[32] = max_pool_3x3(maps[16], "same", name="pool_stride32")
    # A bilinear transposed convolution overhangs its input by half a stride on every side.
    return Streams(maps, crops=None, final_crop=finest // 2)


def fuse(x: Any, skip: Any, streams: Streams, stride: int, name: str) -> Any:
    """Add up-sampled coarse scores and the scores of a finer stream, the larger cropped to the smaller."""
    if streams.crops is None:
        x = CropToReference(1, name=f"crop_{name}")(x, skip)
    else:
        skip = CropToReference(streams.crops[stride], name=f"crop_{name}")(skip, x)
    return layers.Add(name=f"fuse_{name}")([x, skip])


def crop_to_image(x: Any, image: Any, offset: int, classifier_activation: str | None) -> Any:
    """Crop the up-sampled scores to the image."""
    x = CropToReference(offset, name="score")(x, image)
    return x if classifier_activation is None else layers.Activation(classifier_activation, name="predictions")(x)
