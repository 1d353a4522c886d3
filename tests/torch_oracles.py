"""Independent implementations with random weights, for the parity tests."""

import sys
import types
import zlib

import numpy as np


def torchvision_models():
    """Import torchvision's models on a CPU build of torch, with which its extension for detection does not load."""
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations"))
    from torchvision import models

    return models


def timm_model(name, **options):
    """A timm model without weights."""
    torchvision_models()
    import timm

    return timm.create_model(name, pretrained=False, **options)


def randomise(module):
    """Give every tensor a value that depends on its name only; the variances of batch-norm are positive."""
    import torch

    for name, tensor in module.state_dict().items():
        generator = np.random.default_rng(zlib.crc32(name.encode()))
        if not tensor.is_floating_point():
            continue
        if tensor.ndim > 1:
            values = generator.standard_normal(tensor.shape, "float32")
            values *= np.float32(np.sqrt(2 / tensor[0].numel()))
        elif name.endswith("running_var"):
            values = generator.uniform(0.5, 1.5, tensor.shape)
        elif name.endswith("weight"):  # a scale, of either sign
            values = generator.uniform(0.5, 1.5, tensor.shape) * generator.choice([-1, 1], tensor.shape, p=[0.1, 0.9])
        else:
            values = generator.normal(0, 0.1, tensor.shape)
        tensor.copy_(torch.from_numpy(values.astype("float32")))
    return module.eval()


def run(module, images):
    """Run a PyTorch model on images in Keras's layout; return its outputs in that layout."""
    import torch

    with torch.no_grad():
        outputs = module(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    return outputs.transpose(0, 2, 3, 1) if outputs.ndim == 4 else outputs


def relative_difference(ours, theirs):
    """Return the largest difference divided by the largest value, of outputs that are not constant."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    assert theirs.std() > 0
    return np.abs(ours - theirs).max() / np.abs(theirs).max()
