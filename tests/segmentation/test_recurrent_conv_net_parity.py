"""The recurrent networks equal a PyTorch loop over one module, in values and in gradients."""

import numpy as np
import pytest
from harness import randomise

from keras_segattn import RecurrentConvNet
from keras_segattn.losses import PixelCrossEntropy
from keras_segattn.segmentation.recurrent_conv_net import depths, patch_size
from keras_segattn.training.deep_supervision import SummedLoss, supervised_model

# Rounding of float32 sums over up to 1,600 products in nine layers, accumulated in another order.
RELATIVE_DIFFERENCE = 1e-4
CLASSES = 8
LAYERS = {
    "cnn1": [(3, 25, 6, 8), (25, 50, 3, 2), (50, CLASSES, 7, 1)],
    "rcnn2": [(11, 25, 8, 2), (25, 50, 8, 2), (50, CLASSES, 1, 1)],
    "rcnn3": [(11, 25, 8, 2), (25, 50, 8, 1), (50, CLASSES, 1, 1)],
}


def one_network(name, second_tanh):
    """Return the module f: convolution, pooling, tanh, twice, and the scores."""
    from torch import nn

    modules = []
    for stage, (inputs, outputs, kernel, pool) in enumerate(LAYERS[name]):
        modules += [nn.Conv2d(inputs, outputs, kernel), nn.MaxPool2d(pool)]
        if stage == 0 or (stage == 1 and second_tanh):
            modules.append(nn.Tanh())
    return nn.Sequential(*modules)


def loop(network, patch, instances, rescale, feedback):
    """Apply one module several times; return the scores of the centre pixel after each."""
    import torch
    from torch.nn import functional as f

    planes, centres = torch.zeros(len(patch), CLASSES, *patch.shape[2:]), []
    for number in range(instances):
        if number:
            fed = f.softmax(planes, dim=1) if feedback == "softmax" else planes
            if rescale == "valid":
                # The patch from the centre of the first field to that of the last, resized corner to corner. Fields
                # have 25 pixels in rCNN2 (patch of 121) and 23 in rCNN3.
                margin = {121: 12, 155: 11, 67: 11}[patch.shape[-1]]
                valid = patch[:, :, margin:-margin, margin:-margin]
                patch = f.interpolate(valid, planes.shape[2:], mode="bilinear", align_corners=True)
            else:
                patch = f.interpolate(patch, planes.shape[2:], mode="bilinear", align_corners=False)
            planes = fed
        x = torch.cat([planes, patch], dim=1) if network[0].in_channels > 3 else patch
        planes = network(x)
        middle = planes.shape[2] // 2
        centres.append(planes[:, :, middle, middle])
    return centres


@pytest.mark.parity
@pytest.mark.parametrize(
    ("name", "instances", "changes"),
    [
        ("cnn1", 1, {}),
        ("rcnn2", 1, {}),
        ("rcnn2", 2, {}),
        ("rcnn3", 1, {}),
        ("rcnn3", 2, {"second_tanh": False}),
        ("rcnn3", 3, {}),
        ("rcnn3", 3, {"feedback": "softmax"}),
        ("rcnn3", 3, {"rescale": "whole"}),
    ],
)
def test_values_and_gradients_equal_a_loop_over_one_module(name, instances, changes):
    import tensorflow as tf
    import torch

    options = {"second_tanh": True, "feedback": "scores", "rescale": "valid"} | changes
    size, patches = patch_size(name, instances), 2
    model = RecurrentConvNet(network=name, instances=instances, classes=CLASSES, patches=True, **options)
    randomise(model)
    network = one_network(name, options["second_tanh"])
    parameters = [p for module in network if isinstance(module, torch.nn.Conv2d) for p in (module.weight, module.bias)]
    assert sum(p.numel() for p in parameters) == model.count_params() == (33_633 if name == "cnn1" else 98_083)
    for ours, theirs in zip(model.get_weights(), parameters, strict=True):
        theirs.data = torch.from_numpy(np.ascontiguousarray(ours.transpose(3, 2, 0, 1) if ours.ndim == 4 else ours))

    patch = np.random.default_rng(0).normal(size=(patches, size, size, 3)).astype("float32")
    labels = np.array([3, 5])
    centres = loop(
        network, torch.from_numpy(patch.transpose(0, 3, 1, 2)), instances, options["rescale"], options["feedback"]
    )
    sum(torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels)) for scores in centres).backward()

    trained = supervised_model(model, depths(model), patch.shape)
    with tf.GradientTape() as tape:
        outputs = trained(patch)
        loss = SummedLoss(PixelCrossEntropy(None), CLASSES)(labels[:, None, None], outputs)
    expected = torch.cat(centres, dim=1).detach().numpy()
    found = np.asarray(outputs)[:, 0, 0]
    assert np.abs(found - expected).max() / np.abs(expected).max() < RELATIVE_DIFFERENCE
    for ours, theirs in zip(tape.gradient(loss, [v.value for v in model.trainable_variables]), parameters, strict=True):
        gradient = theirs.grad.numpy()
        gradient = gradient.transpose(2, 3, 1, 0) if gradient.ndim == 4 else gradient
        assert np.abs(gradient).max() > 0
        assert np.abs(ours.numpy() - gradient).max() / np.abs(gradient).max() < RELATIVE_DIFFERENCE
