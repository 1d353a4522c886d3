"""ResNet: deep residual learning (He, Zhang, Ren & Sun, CVPR 2016, arXiv 1512.03385), table 1.

Layer names are those of keras.applications. Where a stage halves the map, the first block's stride is in its 3×3
convolution, as in torchvision, or in the first 1×1, as in the authors' Caffe release, keras.applications and
Detectron's weights; the parameters are the same, the outputs are not. The Caffe release also leaves the first pooling
unpadded, and some of its convolutions have a bias; a bias before batch normalisation is folded into it when a file is
loaded.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_blocks, check_choice, check_classifier
from keras_segattn.classification.blocks import conv_bn
from keras_segattn.classification.heads import POOLINGS, max_pool_3x3, pool_features
from keras_segattn.fields import IMAGENET
from keras_segattn.inputs import image_input, source_input
from keras_segattn.registry import Card, Paper, Tap, register

WIDTHS = (64, 128, 256, 512)
EXPANSION = 4
PAPER = Paper("Deep Residual Learning for Image Recognition", "He, Zhang, Ren & Sun", "CVPR", 2016, "1512.03385")

DOCUMENTATION = """{name} (He et al. 2016): {blocks} {kind} blocks.

Args:
    include_top: whether to add average pooling and the fully connected layer.
    weights: `None` (random) or the path of a weight file of torchvision or timm; with `stride_in_1x1=True` also of
        keras.applications or Detectron; with `padding="valid"` in addition, of the Caffe release. The weights of
        keras.applications and Caffe expect the normalisation that `preprocess_input` mentions, which
        `preprocessing_of` does not know: pass that `Picture` where one is taken.
    input_tensor: symbolic tensor to build on, instead of `input_shape`.
    input_shape: `(height, width, channels)`, default `(None, None, 3)`: any size.
    pooling: global pooling without the top, `"avg"` or `"max"`, or `None` for the {channels}-channel map.
    classes: number of classes.
    classifier_activation: `None` for logits or `"softmax"` for probabilities.
    name: name of the model.
    alpha: width multiplier of all hidden layers.
    padding: `"symmetric"` pads the first pooling as PyTorch and keras.applications do, `"valid"` leaves it unpadded
        and rounds up, as the Caffe release does.
    stride_in_1x1: whether bottlenecks have their stride in the first 1×1 convolution (Caffe release, Detectron,
        keras.applications) instead of the 3×3 (torchvision, timm).
    blocks: numbers of residual blocks in the four stages.

Returns:
    Model from preprocessed images `(batch, height, width, channels)` float32 to logits `(batch, classes)`, or
    without the top to the stride-32 map `(batch, h, w, {channels} alpha)`, non-negative.

Raises:
    ValueError: if an argument or a shape is wrong.
    keras_segattn.weights.WeightsError: if the weight file does not fit.

Example:
    >>> model = {name}(weights="{file}.pth")
    >>> logits = model(preprocess_input(photos))
"""


def preprocess_input(images: Any) -> Any:
    """Normalise RGB images `(..., 3)`, 0..255, to float32 by ImageNet's mean and deviation, for torchvision's weights.

    The weights of keras.applications and Caffe expect `Picture("BGR", mean=(103.939, 116.779, 123.68))`.
    """
    return IMAGENET(images)


def basic_block(x: Any, width: int, stride: int, alpha: float, project: bool, name: str) -> Any:
    """Apply two 3×3 convolutions and the shortcut (figure 5, left)."""
    shortcut = conv_bn(x, width, 1, stride, name=f"{name}_0", alpha=alpha, activation=None) if project else x
    y = conv_bn(x, width, 3, stride, "symmetric", name=f"{name}_1", alpha=alpha)
    y = conv_bn(y, width, 3, name=f"{name}_2", alpha=alpha, activation=None)
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, y]))


def bottleneck(
    x: Any, width: int, stride: int, alpha: float, project: bool, name: str, *, stride_in_1x1: bool = False
) -> Any:
    """Apply 1×1, 3×3 and 1×1 convolutions and the shortcut (figure 5, right)."""
    out = EXPANSION * width
    first, second = (stride, 1) if stride_in_1x1 else (1, stride)
    shortcut = conv_bn(x, out, 1, stride, name=f"{name}_0", alpha=alpha, activation=None) if project else x
    y = conv_bn(x, width, 1, first, name=f"{name}_1", alpha=alpha)
    y = conv_bn(y, width, 3, second, "symmetric", name=f"{name}_2", alpha=alpha)
    y = conv_bn(y, out, 1, name=f"{name}_3", alpha=alpha, activation=None)
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, y]))


def _weight_names(blocks: tuple[int, ...], depth: int) -> dict[str, tuple[str, ...]]:
    """Return layer → its names in torchvision's and timm's files and in the Caffe release.

    The Caffe release has the statistics and the scales of a batch normalisation in two layers.
    """
    names = {"conv1_conv": ("conv1",), "conv1_bn": ("bn1", "bn_conv1", "scale_conv1"), "predictions": ("fc", "fc1000")}
    branches = {0: "branch1", 1: "branch2a", 2: "branch2b", 3: "branch2c"}
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            # Caffe numbers the blocks of long stages (res4a, res4b1, res4b2) and letters others (res3a, res3b).
            numbered = count > 6 or (depth > 50 and stage == 2)
            letter = ("a" if block == 0 else f"b{block}") if numbered else chr(ord("a") + block)
            for conv, branch in branches.items():
                ours, place = f"conv{stage + 1}_block{block + 1}_{conv}", f"layer{stage}.{block}"
                torch = (f"{place}.downsample.0", f"{place}.downsample.1")
                if conv:
                    torch = (f"{place}.conv{conv}", f"{place}.bn{conv}")
                caffe = f"{stage + 1}{letter}_{branch}"
                names[f"{ours}_conv"] = (torch[0], f"res{caffe}")
                names[f"{ours}_bn"] = (torch[1], f"bn{caffe}", f"scale{caffe}")
    return names


def _needs(model: keras.Model, names: Sequence[str]) -> str | None:
    """Recognise the classifiers of keras.applications, Caffe and torchvision, whose tensors fit all forms of a network.

    Backbones with PyTorch's names are of either form, as some are converted from Caffe.
    """
    first = "conv2_block1_1_conv"
    if not {f"{first}.bias", f"{first}.1"}.isdisjoint(names):
        form = (True, "symmetric")
    elif "res2a_branch2a.blob0" in names:
        form = (True, "valid")
    elif {"layer1.0.conv1.weight", "fc.weight"} <= set(names):
        form = (False, "symmetric")
    elif "res2a_branch2a.kernel" in names:
        return "epsilon=0.001, which it cannot have: take the newer file of keras.applications (conv1_conv, …)"
    else:
        return None
    layer_names = [layer.name for layer in model.layers]
    if "conv3_block1_1_conv" not in layer_names:
        return None
    strided = model.get_layer("conv3_block1_1_conv").strides != (1, 1)
    padding = "symmetric" if "pool1_pad" in layer_names else "valid"
    return None if (strided, padding) == form else f"stride_in_1x1={form[0]}, padding={form[1]!r}"


def _resnet(
    model_name: str,
    published: tuple[int, int, int, int],
    parameters: int,
    deep: bool,
) -> Callable[..., keras.Model]:
    """Make the builder of one column of table 1."""
    block = bottleneck if deep else basic_block
    channels = WIDTHS[-1] * (EXPANSION if deep else 1)
    file = model_name.lower()

    def build(
        include_top: bool = True,
        weights: str | None = None,
        input_tensor: Any = None,
        input_shape: tuple[int | None, ...] | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: str | None = None,
        name: str = file,
        *,
        alpha: float = 1.0,
        padding: str = "symmetric",
        stride_in_1x1: bool = False,
        blocks: tuple[int, int, int, int] = published,
    ) -> keras.Model:
        check_classifier(include_top, classes, classifier_activation)
        check_choice("pooling", pooling, POOLINGS)
        check_choice("padding", padding, ("symmetric", "valid"))
        check_choice("stride_in_1x1", stride_in_1x1, (True, False) if deep else (False,))
        check_blocks(blocks, len(WIDTHS), "four numbers of residual blocks")
        image = image_input(input_tensor, input_shape, model_name, IMAGENET, minimum=1 if padding == "symmetric" else 3)

        x = conv_bn(image, 64, 7, 2, "symmetric", name="conv1", alpha=alpha)
        if padding == "symmetric":  # after a ReLU, padding by zeros is the same as by minus infinity
            x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
            x = layers.MaxPooling2D(3, 2, name="pool1_pool")(x)
        else:
            x = max_pool_3x3(x, padding, name="pool1_pool")
        options = {"stride_in_1x1": stride_in_1x1} if deep else {}
        for stage, (width, count) in enumerate(zip(WIDTHS, blocks, strict=True), start=2):
            for number in range(1, count + 1):
                stride = 2 if number == 1 and stage > 2 else 1
                project = number == 1 and (deep or stage > 2)
                x = block(x, width, stride, alpha, project, f"conv{stage}_block{number}", **options)

        if include_top:
            x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
            x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
        else:
            x = pool_features(x, pooling)
        model = keras.Model(source_input(image), x, name=name)
        weight_files.initialize(model, weights, {}, backbone=not include_top)
        return model

    build.__name__ = build.__qualname__ = model_name
    kind = "bottleneck" if deep else "basic"
    build.__doc__ = DOCUMENTATION.format(
        name=model_name, blocks=", ".join(map(str, published)), kind=kind, channels=channels, file=file
    )
    expansion = EXPANSION if deep else 1
    taps = {
        f"conv{stage}_block{count}_out": Tap(2**stage, width * expansion)
        for stage, (width, count) in enumerate(zip(WIDTHS, published, strict=True), start=2)
    }
    return register(
        Card(
            paper=PAPER,
            task="classify",
            inputs={"image": IMAGENET},
            published={"input_shape": (224, 224, 3)},
            parameters=parameters,
            taps=taps,
            tiny={"input_shape": (32, 32, 3), "classes": 5, "alpha": 0.0625, "blocks": (2, 1, 1, 1)},
            claims={"int8", "dynamic_size", "mixed_precision"},
            weight_names=_weight_names(published, sum(published) * (3 if deep else 2) + 2),
            needs=_needs if deep else None,
        )
    )(build)


# Number of blocks in the fifth stage, for R-CNNs, which take the map of the fourth stage and run the fifth themselves.
LAST_BLOCKS = {"ResNet18": 2, "ResNet34": 3, "ResNet50": 3, "ResNet101": 3, "ResNet152": 3}
BOTTLENECKS = ("ResNet50", "ResNet101", "ResNet152")

ResNet18 = _resnet("ResNet18", (2, 2, 2, 2), 11_699_112, False)
ResNet34 = _resnet("ResNet34", (3, 4, 6, 3), 21_814_696, False)
ResNet50 = _resnet("ResNet50", (3, 4, 6, 3), 25_610_152, True)
ResNet101 = _resnet("ResNet101", (3, 4, 23, 3), 44_654_504, True)
ResNet152 = _resnet("ResNet152", (3, 8, 36, 3), 60_344_232, True)
