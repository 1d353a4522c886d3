"""Parts of the Inception family: parallel branches of convolutions, written as in the papers' figures.

An operation is a short text: `"3x3 64"` is a convolution with 64 filters, `"1x7 224"` one of height 1 and width 7,
`"3x3/2V 384"` has stride 2 and, as the figures mark by V, no padding; `"max 3x3/2V"` and `"avg 3x3"` pool. A branch is
a tuple of operations, the last of which may be a tuple of two parallel ones; a block is a tuple of branches.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from keras import layers

from keras_segattn.arguments import check_blocks, check_choice, check_dropout, scaled
from keras_segattn.classification.blocks import conv_bn

Branch = tuple[str | tuple[str, str], ...]
Block = tuple[Branch, ...]

_OPERATION = re.compile(r"(max |avg )?(\d+)x(\d+)(/2)?(V?)(?: (\d+))?")
POOLINGS = {"max ": layers.MaxPooling2D, "avg ": layers.AveragePooling2D}
# Epsilon of TF-slim's batch normalisation, which has no scale (gamma), because a ReLU and another convolution follow.
EPSILON = 1e-3


class Style(NamedTuple):
    """Settings of all operations of a network: width multiplier, padding where figures mark V, decay of statistics."""

    alpha: float
    padding: str
    momentum: float


class Residual(NamedTuple):
    """A residual block: branches, a linear 1×1 convolution back to the input's channels, a scaled sum, maybe a ReLU."""

    branches: Block
    scale: float
    activation: str | None = "relu"


# A network: name → operation, block or residual block, in order.
Plan = dict[str, str | Block | Residual]


def operation(x: Any, text: str, style: Style, name: str) -> Any:
    """Apply one operation of a branch."""
    pool, height, width, strided, valid, filters = _parse(text)
    kernel, stride, padding = (int(height), int(width)), 2 if strided else 1, style.padding if valid else "same"
    if pool:
        return POOLINGS[pool](kernel, stride, padding, name=name)(x)
    return conv_bn(
        x,
        int(filters),
        kernel,
        stride,
        padding,
        name=name,
        alpha=style.alpha,
        momentum=style.momentum,
        epsilon=EPSILON,
        scale=False,
    )


def mixed(x: Any, branches: Block, style: Style, name: str) -> Any:
    """Apply parallel branches and concatenate them. Average pooling does not count the padding, as in TensorFlow."""
    outputs = []
    for b, branch in enumerate(branches):
        y = x
        for i, step in enumerate(branch):
            stem = f"{name}_branch{b}_{i}"
            if isinstance(step, tuple):
                outputs += [operation(y, text, style, f"{stem}{side}") for side, text in zip("ab", step, strict=True)]
            else:
                y = operation(y, step, style, stem)
        if isinstance(branch[-1], str):
            outputs.append(y)
    return layers.Concatenate(name=name)(outputs)


def residual(x: Any, block: Residual, style: Style, name: str) -> Any:
    """Apply `relu(x + scale · up(branches(x)))`; the scale lets residuals of over 1000 filters train (section 3.3)."""
    y = mixed(x, block.branches, style, f"{name}_mixed")
    y = layers.Conv2D(x.shape[-1], 1, kernel_initializer="he_normal", name=f"{name}_conv")(y)
    y = layers.Rescaling(block.scale, name=f"{name}_scale")(y)
    if block.activation is None:
        return layers.Add(name=name)([x, y])
    return layers.Activation(block.activation, name=name)(layers.Add(name=f"{name}_sum")([x, y]))


def network(x: Any, plan: Plan, style: Style) -> dict[str, Any]:
    """Apply the parts of a plan one after the other; return the output of every part by name."""
    maps = {}
    for name, part in plan.items():
        if isinstance(part, str):
            x = operation(x, part, style, name)
        elif isinstance(part, Residual):
            x = residual(x, part, style, name)
        else:
            x = mixed(x, part, style, name)
        maps[name] = x
    return maps


def auxiliary_classifier(x: Any, classes: int, style: Style) -> Any:
    """Apply TF-slim's side classifier to the last 17×17 map: it helps early layers to learn and is dropped later."""
    height, width = x.shape[1:3]
    if height is None or width is None:
        raise ValueError(f"aux_logits needs a fixed image size, its map is {tuple(x.shape[1:])}")
    x = layers.AveragePooling2D((min(5, height), min(5, width)), 3, name="aux_pool")(x)
    x = operation(x, "1x1 128", style, "aux_0")
    x = operation(x, f"{x.shape[1]}x{x.shape[2]}V 768", style._replace(padding="valid"), "aux_1")
    return layers.Dense(classes, name="aux_logits")(layers.Flatten(name="aux_flatten")(x))


def weight_names(plan: Plan, timm: dict[str, str], slim: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Return layer → its names in PyTorch and TF-slim files, given the names of the plan's parts there."""
    names: dict[str, tuple[str, ...]] = {}
    for part, spec in plan.items():
        if isinstance(spec, str):
            found = [] if spec.startswith(tuple(POOLINGS)) else [(part, [timm[part]], [slim[part]])]
        elif isinstance(spec, Residual):
            found = list(_branch_names(f"{part}_mixed", timm[part], slim[part], spec.branches))
        else:
            found = list(_branch_names(part, timm[part], slim[part], spec))
        for stem, in_torch, in_slim in found:
            names[f"{stem}_conv"] = (*(f"{name}.conv" for name in in_torch), *in_slim)
            names[f"{stem}_bn"] = (*(f"{name}.bn" for name in in_torch), *(f"{name}/BatchNorm" for name in in_slim))
        if isinstance(spec, Residual):
            names[f"{part}_conv"] = (f"{timm[part]}.conv2d", f"{slim[part]}/Conv2d_1x1")
    return names


def batch_norm_order(names: dict[str, tuple[str, ...]]) -> list[str]:
    """Return the name stems of convolutions with batch normalisation, in the order in which they are built."""
    return [layer.removesuffix("_bn") for layer in names if layer.endswith("_bn")]


def slim_scope(name: str, text: str) -> str:
    """Return TF-slim's scope of a convolution outside a block: a 3×3 `conv2d_1a` is `Conv2d_1a_3x3`."""
    _, height, width, *_ = _parse(text)
    return f"{name.capitalize()}_{height}x{width}"


def _branch_names(stem: str, timm: str, slim: str, branches: Block) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield (our stem, PyTorch names, TF-slim scopes) for every convolution of a block."""
    for b, branch in enumerate(branches):
        forked = isinstance(branch[-1], tuple)
        letters = iter("abcdefg")  # TF-slim letters the operations of a branch; those without padding are "1a"
        for i, step in enumerate(branch):
            for side, text in zip("ab", step, strict=True) if isinstance(step, tuple) else [("", step)]:
                pool, height, width, _, valid, _ = _parse(text)
                marks = ["1a_" if valid else f"0{next(letters)}_"]
                in_torch = [f"{timm}.branch{b}_{i}{side}" if forked else f"{timm}.branch{b}.{i}"]
                if len(branch) == 1:  # named without an index, and by rules that differ between the networks
                    marks = ["0a_", "1a_", ""]
                    in_torch = [f"{timm}.branch{b}", f"{timm}.conv"]
                if not pool:
                    in_slim = [f"{slim}/Branch_{b}/Conv2d_{mark}{height}x{width}" for mark in marks]
                    yield f"{stem}_branch{b}_{i}{side}", in_torch, in_slim


def _parse(text: str) -> tuple[str, str, str, str, str, str]:
    match = _OPERATION.fullmatch(text)
    if match is None:
        raise ValueError(f"expected an operation such as '3x3/2V 64' or 'max 3x3/2V', received {text!r}")
    pool, height, width, strided, valid, filters = match.groups(default="")
    return pool, height, width, strided, valid, filters


def check_inception(blocks: tuple[int, ...], dropout: float, aux_logits: bool, include_top: bool) -> None:
    """Raise `ValueError` unless the arguments that all Inceptions share are valid."""
    check_blocks(blocks, 3, "three numbers of blocks, of A, B and C")
    check_dropout(dropout)
    check_choice("aux_logits", aux_logits, (True, False))
    if aux_logits and not include_top:
        raise ValueError("aux_logits is a second classifier, which needs include_top=True")


def classifiers(
    maps: dict[str, Any],
    aux_map: Any,
    classes: int,
    classifier_activation: str | None,
    dropout: float,
    style: Style,
    bottleneck: int | None = None,
) -> Any:
    """Apply average pooling, dropout and the fully connected layer to the last map; `aux_map` adds a second output."""
    x = layers.GlobalAveragePooling2D(name="avg_pool")(list(maps.values())[-1])
    x = layers.Dropout(dropout, name="dropout")(x)
    if bottleneck is not None:
        x = layers.Dense(scaled(bottleneck, style.alpha), use_bias=False, name="bottleneck")(x)
        x = layers.BatchNormalization(momentum=style.momentum, epsilon=EPSILON, scale=False, name="bottleneck_bn")(x)
    x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    return x if aux_map is None else {"logits": x, "aux_logits": auxiliary_classifier(aux_map, classes, style)}
