"""Conversion of the arrays that DCGAN's authors published (github.com/Newmu/dcgan_code, `models/`) to our names."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

FIRST = 4  # rows and columns of the generator's first map


def released_list(folder: str | os.PathLike[str], network: str) -> Path:
    """Find the list of arrays, in a folder of the release, that was trained longest.

    Args:
        folder: folder of the release, such as `models/svhn_unsup_all_conv_dcgan_100z_gaussian_lr_0.0005_64mb`.
        network: `"gen"` or `"discrim"`.

    Returns:
        Path for `weights`, such as `…/200_gen_params.jl`.

    Raises:
        FileNotFoundError: if there is no such list.

    Example:
        >>> generator = DCGANGenerator(str(released_list("models/svhn_…", "gen")), **SVHN)
    """
    suffix = f"_{network}_params.jl_01.npy"
    found = {path: path.name.removesuffix(suffix) for path in Path(folder).glob(f"*{suffix}")}
    epochs = {int(epoch): path for path, epoch in found.items() if epoch.isdecimal()}
    if not epochs:
        raise FileNotFoundError(f"{folder}: expected files such as 200{suffix}, found none")
    return epochs[max(epochs)].with_name(f"{max(epochs)}{suffix.removesuffix('_01.npy')}")


def generator_arrays(tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Name the released list: [W, gain, shift of the projection; W, gain, shift of every map; W of the image]."""
    if not is_released(tensors):
        return tensors
    project, gain, shift, *maps, image = tensors.values()
    return {
        # (in, out) → (out, in); the outputs are reordered from channels, rows, columns to rows, columns, channels.
        "project.kernel": channels_last(project).T,
        "project_bn.gamma": channels_last(gain),
        "project_bn.beta": channels_last(shift),
        **named_maps(maps, "up", 1),
        "image.kernel": flipped(image),
    }


def discriminator_arrays(tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Name the released list: [W of the first map; W, gain, shift of every other map; W of the score]."""
    if not is_released(tensors):
        return tensors
    first, *maps, score = tensors.values()
    return {"down1.kernel": flipped(first), **named_maps(maps, "down", 2), "score.kernel": score.T}


def named_maps(arrays: Sequence[np.ndarray], stem: str, first: int) -> dict[str, np.ndarray]:
    """Name the arrays [W, gain, shift] of map after map; the first map has the number `first`."""
    named = {}
    for index, array in enumerate(arrays):
        layer, part = f"{stem}{first + index // 3}", index % 3
        named[f"{layer}.kernel" if part == 0 else f"{layer}_bn.{('gamma', 'beta')[part - 1]}"] = flipped(array)
    return named


def is_released(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether tensors are a list without names, as the release in Theano stores them."""
    return len(tensors) > 4 and all(name.endswith(".array") for name in tensors)


def flipped(array: np.ndarray) -> np.ndarray:
    """Turn kernels by 180°: Theano convolves, where Keras and PyTorch correlate."""
    return array[..., ::-1, ::-1] if array.ndim == 4 else array


def channels_last(array: np.ndarray) -> np.ndarray:
    """Reorder the flattened last axis from (channels, 4, 4) to (4, 4, channels)."""
    if array.ndim == 0 or array.shape[-1] % (FIRST * FIRST):
        return array  # from another network, whose shapes will not fit
    return np.moveaxis(array.reshape(*array.shape[:-1], -1, FIRST, FIRST), -3, -1).reshape(array.shape)
