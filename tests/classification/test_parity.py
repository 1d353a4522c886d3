"""Every classifier against an independent implementation with random weights, through a weight file."""

import pytest
from harness import images
from torch_oracles import randomise, relative_difference, run, timm_model, torchvision_models

import keras_segattn as ks
from keras_segattn import weights

# Rounding of float32 sums of up to ten thousand products in hundreds of layers, accumulated in another order.
RELATIVE_DIFFERENCE = 1e-4


def torchvision(name, **options):
    return getattr(torchvision_models(), name)(weights=None, **options)


def facenet():
    """facenet-pytorch's network with its classifier, whose last layer gives the logits."""
    torchvision_models()  # which facenet_pytorch imports
    from facenet_pytorch import InceptionResnetV1

    return InceptionResnetV1(pretrained=None, classify=True, num_classes=10)


CASES = {
    "inception_v4": (ks.InceptionV4, {}, lambda: timm_model("inception_v4"), (299, 331)),
    "inception_resnet_v2": (ks.InceptionResNetV2, {}, lambda: timm_model("inception_resnet_v2"), (299, 331)),
    "facenet": (
        ks.InceptionResNetV1,
        {"classes": 10, "sixth_block": True, "bottleneck": 512},
        facenet,
        (160, 193),
    ),
    "googlenet": (
        ks.GoogLeNet,
        {"variant": "torchvision"},
        lambda: torchvision("googlenet", init_weights=False),
        (224, 193),
    ),
    "efficientnet_lite0": (
        ks.EfficientNetLite0,
        {"padding": "symmetric"},
        lambda: timm_model("efficientnet_lite0"),
        (224, 193),
    ),
    "tf_efficientnet_lite0": (ks.EfficientNetLite0, {}, lambda: timm_model("tf_efficientnet_lite0"), (224, 193)),
    "squeezenet1_1": (ks.SqueezeNet1_1, {}, lambda: torchvision("squeezenet1_1"), (224, 97)),
    "resnet18": (ks.ResNet18, {}, lambda: torchvision("resnet18"), (224, 97)),
    "resnet34": (ks.ResNet34, {}, lambda: timm_model("resnet34"), (224, 97)),
    "resnet50": (ks.ResNet50, {}, lambda: torchvision("resnet50"), (224, 193)),
    "resnet101": (ks.ResNet101, {}, lambda: timm_model("resnet101"), (224, 97)),
    "resnet152": (ks.ResNet152, {}, lambda: torchvision("resnet152"), (224, 97)),
}
# Networks of the same blocks as another case, or that `test_keras_applications.py` compares in every run.
REPEATED = {"inception_resnet_v2", "resnet34", "resnet101", "resnet152"}


def slow(names, repeated):
    return [pytest.param(name, marks=[pytest.mark.thorough] if name in repeated else []) for name in names]


@pytest.mark.parity
@pytest.mark.parametrize("case", slow(CASES, REPEATED))
def test_logits_equal_the_oracle(case, tmp_path):
    import torch

    builder, options, oracle, sizes = CASES[case]
    theirs = randomise(oracle())
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = builder(**options)
    report = weights.load(ours, tmp_path / "weights.pth")
    assert report.complete
    for size in sizes:
        x = images((size, size, 3), batch=1, seed=size)
        assert relative_difference(ours(x), run(theirs, x)) <= RELATIVE_DIFFERENCE


@pytest.mark.parity
@pytest.mark.parametrize(
    ("name", "size"),
    [
        pytest.param("vgg16", 97, marks=pytest.mark.thorough),
        pytest.param("vgg19", 97, marks=pytest.mark.thorough),
        ("alexnet", 193),
    ],
)
def test_fully_connected_classifiers_and_their_maps_equal_torchvision(name, size, tmp_path):
    """Compare the logits at the native size, and the maps at another size, where torchvision resamples them."""
    import torch

    theirs = randomise(torchvision(name))
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    builder = {"vgg16": ks.VGG16, "vgg19": ks.VGG19, "alexnet": ks.AlexNet}[name]
    options = {"variant": "torchvision"} if name == "alexnet" else {}
    ours = builder(**options)
    assert weights.load(ours, tmp_path / "weights.pth").complete
    x = images((224, 224, 3), batch=1)
    assert relative_difference(ours(x), run(theirs, x)) <= RELATIVE_DIFFERENCE
    backbone = builder(include_top=False, weights=tmp_path / "weights.pth", **options)
    x = images((size, size, 3), batch=1)
    assert relative_difference(backbone(x), run(theirs.features, x)) <= RELATIVE_DIFFERENCE


@pytest.mark.parity
def test_auxiliary_classifiers_equal_torchvision(tmp_path):
    """torchvision runs its side heads in training only, so they are called by hand."""
    import torch

    theirs = randomise(torchvision("googlenet", init_weights=False))
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = ks.GoogLeNet(variant="torchvision", aux_logits=True, input_shape=(224, 224, 3))
    report = weights.load(ours, tmp_path / "weights.pth")
    assert report.complete
    assert not [name for name in report.ignored if not name.endswith("num_batches_tracked")]
    maps = {}
    for name in ("inception4a", "inception4d"):
        getattr(theirs, name).register_forward_hook(lambda *call, name=name: maps.update({name: call[-1]}))
    x = images((224, 224, 3), batch=1)
    outputs = ours(x)
    assert relative_difference(outputs["logits"], run(theirs, x)) <= RELATIVE_DIFFERENCE
    heads = {"aux1_logits": (theirs.aux1, "inception4a"), "aux2_logits": (theirs.aux2, "inception4d")}
    for name, (head, place) in heads.items():
        with torch.no_grad():
            expected = head(maps[place]).numpy()
        assert relative_difference(outputs[name], expected) <= RELATIVE_DIFFERENCE
