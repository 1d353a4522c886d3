"""Weights of keras.applications' classifiers, loaded from the files that Keras writes, give the same outputs here."""

import keras
import pytest
from harness import images, randomise
from torch_oracles import relative_difference

import keras_segattn as ks
from keras_segattn import weights

# Rounding of float32 sums over up to 25,088 products, or in hundreds of layers, accumulated in another order.
RELATIVE_DIFFERENCE = 1e-4
# Model → its size, another size for the network without its top, arguments.
CASES = {
    "VGG16": ((224, 224), (97, 65), {}),
    "VGG19": ((224, 224), (97, 65), {}),
    "ResNet50": ((224, 224), (193, 225), {"stride_in_1x1": True}),
    "InceptionResNetV2": ((299, 299), (193, 225), {}),
}
FILES = [
    ("VGG16", ".h5"),
    pytest.param("VGG19", ".weights.h5", marks=pytest.mark.thorough),
    ("ResNet50", ".weights.h5"),
    pytest.param("InceptionResNetV2", ".h5", marks=pytest.mark.thorough),
]


@pytest.mark.parity
@pytest.mark.parametrize(("name", "suffix"), FILES)
def test_logits_equal(name, suffix, tmp_path):
    size, odd, options = CASES[name]
    builder = getattr(keras.applications, name)
    # Layers that are built before shift the numbers in the names of the model's layers.
    keras.layers.Conv2D(1, 1), keras.layers.BatchNormalization()
    theirs = builder(weights=None, input_shape=(*size, 3), classifier_activation=None)
    randomise(theirs)
    path = tmp_path / f"weights{suffix}"
    (theirs.save if suffix == ".h5" else theirs.save_weights)(path)

    ours = getattr(ks, name)(input_shape=(*size, 3), **options)
    report = weights.load(ours, path)
    assert report.complete
    assert len(report.matched) >= len(ours.weights)
    x = images((*size, 3), batch=1)
    assert relative_difference(ours(x), theirs(x)) <= RELATIVE_DIFFERENCE
    backbone = getattr(ks, name)(include_top=False, pooling="avg", input_shape=(*odd, 3), weights=path, **options)
    their_backbone = builder(include_top=False, pooling="avg", weights=None, input_shape=(*odd, 3))
    their_backbone.set_weights(theirs.get_weights()[: len(their_backbone.weights)])
    x = images((*odd, 3), batch=1)
    assert relative_difference(backbone(x), their_backbone(x)) <= RELATIVE_DIFFERENCE


@pytest.mark.parity
@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
def test_an_fcn_of_other_widths_refuses_the_file_and_stays(suffix, tmp_path):
    theirs = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3))
    path = tmp_path / f"weights{suffix}"
    (theirs.save if suffix == ".h5" else theirs.save_weights)(path)
    fcn = ks.FCN32s(alpha=1 / 16, classes=2)
    before = fcn.get_weights()
    with pytest.raises(weights.WeightsError, match="shape mismatch"):
        weights.load(fcn, path, partial=True)
    assert all((old == new).all() for old, new in zip(before, fcn.get_weights(), strict=True))
