"""Parts that Inception-ResNet-v1 and -v2 share: stem, order of the blocks, names of the tensors in foreign files."""

from keras_segattn.arguments import is_number
from keras_segattn.classification.inception import Block, Plan, Residual, slim_scope, weight_names

# Scales of the A, B and C residuals in the release.
SCALES = (0.17, 0.10, 0.20)

# Stem of figure 14 of the paper and of the released version 2, up to the convolution 3×3 V with 192 filters.
STEM: Plan = {
    "conv2d_1a": "3x3/2V 32",
    "conv2d_2a": "3x3V 32",
    "conv2d_2b": "3x3 64",
    "maxpool_3a": "max 3x3/2V",
    "conv2d_3b": "1x1V 80",
    "conv2d_4a": "3x3V 192",
}


def residual_stages(
    blocks: tuple[int, int, int],
    scales: tuple[float, float, float],
    branches: tuple[Block, Block, Block],
    reductions: tuple[Block, Block],
) -> Plan:
    """Plan blocks A, reduction A, blocks B, reduction B, blocks C, named as released after the size of their maps."""
    plan: Plan = {}
    for size, count, scale, block, reduction in zip(
        (35, 17, 8), blocks, scales, branches, (None, *reductions), strict=True
    ):
        if reduction is not None:
            plan["mixed_6a" if size == 17 else "mixed_7a"] = reduction
        plan |= {f"block{size}_{i}": Residual(block, scale) for i in range(1, count + 1)}
    return plan


def residual_weight_names(plan: Plan, scope: str, repeats: tuple[str, str, str]) -> dict[str, tuple[str, ...]]:
    """Return layer → its names in timm's, Cadene's and facenet's PyTorch files and in TF-slim's checkpoints."""
    last = next(part for part, spec in plan.items() if isinstance(spec, Residual) and spec.activation is None)
    stages = dict(zip((35, 17, 8), zip(repeats, ("Repeat", "Repeat_1", "Repeat_2"), strict=True), strict=True))
    torch, slim = {}, {}
    for part, spec in plan.items():
        torch[part], slim[part] = part, part.capitalize()
        if part == last:
            torch[part], slim[part] = "block8", "Block8"
        elif isinstance(spec, Residual):
            size, _, number = part.removeprefix("block").partition("_")
            in_torch, in_slim = stages[int(size)]
            torch[part], slim[part] = f"{in_torch}.{int(number) - 1}", f"{in_slim}/{part}"
        elif isinstance(spec, str):
            slim[part] = slim_scope(part, spec)
    names = weight_names(plan, torch, {part: f"{scope}/{name}" for part, name in slim.items()})
    for ours, theirs in (("aux_0", "Conv2d_1b_1x1"), ("aux_1", "Conv2d_2a_5x5")):
        names[f"{ours}_conv"] = (f"{scope}/AuxLogits/{theirs}",)
        names[f"{ours}_bn"] = (f"{scope}/AuxLogits/{theirs}/BatchNorm",)
    names["aux_logits"] = (f"{scope}/AuxLogits/Logits",)
    names["predictions"] = ("classif", "last_linear", f"{scope}/Logits/Logits")
    return names


def check_scales(residual_scale: float | tuple[float, float, float] | None) -> tuple[float, float, float]:
    """Return the scales of the A, B and C residuals: by default the released ones, else the given one or three.

    Raises:
        ValueError: if they are no numbers above 0 and up to 1.
    """
    given = SCALES if residual_scale is None else residual_scale
    scales = tuple(given) if isinstance(given, tuple | list) else (given,) * 3
    if len(scales) != 3 or not all(is_number(s) and 0 < s <= 1 for s in scales):
        raise ValueError(
            f"residual_scale must be a number above 0 and up to 1, or three of them, received {residual_scale!r}"
        )
    return scales
