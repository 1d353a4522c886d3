"""SqueezeNet 1.1 in PyTorch under torchvision's names → ours, through a file, gives the same outputs."""

import zlib

import numpy as np
import pytest

import keras_segattn
from keras_segattn import weights

# float32 sums over up to 576 products in 26 convolutions, accumulated in another order.
RELATIVE_DIFFERENCE = 1e-4
# Place in `features` → inputs, squeezed and expanded channels; max-poolings are at 2, 5 and 8.
FIRES = {
    3: (64, 16, 64),
    4: (128, 16, 64),
    6: (128, 32, 128),
    7: (256, 32, 128),
    9: (256, 48, 192),
    10: (384, 48, 192),
    11: (384, 64, 256),
    12: (512, 64, 256),
}


def squeezenet(classes):
    import torch
    from torch import nn

    class Fire(nn.Module):
        def __init__(self, inputs, squeeze, expand):
            super().__init__()
            self.squeeze = nn.Conv2d(inputs, squeeze, 1)
            self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
            self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

        def forward(self, x):
            x = self.squeeze(x).relu()
            return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)

    features = [nn.Conv2d(3, 64, 3, stride=2), nn.ReLU()]
    features += [Fire(*FIRES[i]) if i in FIRES else nn.MaxPool2d(3, 2, ceil_mode=True) for i in range(2, 13)]
    classifier = [nn.Dropout(), nn.Conv2d(512, classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    network = nn.Sequential()
    network.add_module("features", nn.Sequential(*features))
    network.add_module("classifier", nn.Sequential(*classifier))
    return network.eval()


@pytest.mark.parity
def test_outputs_equal_a_torch_network_with_torchvision_names(tmp_path):
    import torch

    theirs = squeezenet(classes=1000)
    for name, tensor in theirs.state_dict().items():
        generator = np.random.default_rng(zlib.crc32(name.encode()))
        scale = np.sqrt(2 / tensor[0].numel()) if tensor.ndim > 1 else 0.1
        tensor.copy_(torch.from_numpy(scale * generator.standard_normal(tensor.shape, dtype="float32")))
    torch.save(theirs.state_dict(), tmp_path / "squeezenet1_1.pth")

    model = keras_segattn.SqueezeNet1_1()
    report = weights.load(model, tmp_path / "squeezenet1_1.pth")
    assert report.complete
    assert len(report.matched) == len(theirs.state_dict()) == 52
    for size in (64, 97):
        x = np.random.default_rng(size).standard_normal((2, size, size, 3), dtype="float32")
        with torch.no_grad():
            expected = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2))).flatten(1).numpy()
        assert expected.std() > 0
        assert np.abs(np.asarray(model(x)) - expected).max() / np.abs(expected).max() <= RELATIVE_DIFFERENCE
