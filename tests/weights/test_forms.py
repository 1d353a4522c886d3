"""A file whose tensors fit gives away by its names or settings that its network computes something else."""

import functools

import keras
import numpy as np
import pytest

import keras_segattn as ks
from keras_segattn import weights

BOTTLENECKS = {"alpha": 0.0625, "classes": 5, "blocks": (1, 1, 1, 1), "input_shape": (64, 64, 3)}


@functools.cache
def bottlenecks(**arguments):
    return ks.ResNet50(**BOTTLENECKS, **arguments)


def keras_applications(model, biases=True):
    """Write the tensors of a model under the names of keras.applications, whose convolutions have biases."""
    tensors = {f"{layer.name}.{v.name}": np.array(v) for layer in model.layers for v in layer.weights}
    if biases:
        for layer in model.layers:
            if isinstance(layer, keras.layers.Conv2D):
                tensors[f"{layer.name}.bias"] = np.zeros(layer.filters, "float32")
    return tensors


def caffe(writers, model):
    """Write the tensors of the convolutions of a ResNet under Caffe's names."""
    names = ks.model_card("ResNet50").weight_names
    return {
        f"{names[layer.name][-1]}.blob0": writers.foreign_layout(np.array(layer.kernel))
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    }


def assert_refused(model, path, needs, **options):
    before = model.get_weights()
    with pytest.raises(weights.WeightsError, match=f"another form of the network, which needs {needs}"):
        weights.load(model, path, **options)
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_resnet_of_keras_applications(writers, tmp_path):
    model = bottlenecks()
    path = tmp_path / "resnet50.h5"
    writers.write_legacy_h5(path, keras_applications(model))
    assert_refused(model, path, "stride_in_1x1=True, padding='symmetric'")
    assert weights.load(bottlenecks(stride_in_1x1=True), path).complete
    writers.write_legacy_h5(path, keras_applications(model, biases=False))
    assert weights.load(model, path).complete


def test_resnet_of_caffe(writers, tmp_path):
    path = tmp_path / "resnet50.caffemodel"
    writers.write_caffemodel(path, caffe(writers, bottlenecks()))
    for arguments in ({}, {"stride_in_1x1": True}, {"padding": "valid"}):
        assert_refused(bottlenecks(**arguments), path, "stride_in_1x1=True, padding='valid'", partial=True)
    assert weights.load(bottlenecks(stride_in_1x1=True, padding="valid"), path, partial=True).matched


def test_resnet_of_torchvision(writers, tmp_path):
    names = ks.model_card("ResNet50").weight_names
    for layers in ({"predictions", "conv2_block1_1_conv"}, {"conv2_block1_1_conv"}):
        tensors = {
            f"{names[layer.name][0]}.weight": writers.foreign_layout(np.array(layer.kernel))
            for layer in bottlenecks().layers
            if layer.name in layers
        }
        path = tmp_path / "resnet50.pth"
        writers.write_torch_zip(path, tensors)
        assert weights.load(bottlenecks(), path, partial=True).matched
        if "predictions" in layers:
            assert_refused(bottlenecks(stride_in_1x1=True), path, "stride_in_1x1=False", partial=True)
        else:  # a backbone, which may be Caffe's under PyTorch's names
            assert weights.load(bottlenecks(stride_in_1x1=True), path, partial=True).matched


def test_order_of_pooling_and_normalisation_in_caffe(writers, tmp_path):
    """Files list the layers without weights, too; AlexNet and CaffeNet have the same weights."""
    arguments = {"alpha": 0.03125, "classes": 3}
    models = {"AlexNet": ks.AlexNet(**arguments), "CaffeNet": ks.CaffeNet(**arguments)}
    for name, other in (("AlexNet", "CaffeNet"), ("CaffeNet", "AlexNet")):
        tensors = {"conv1.blob0": writers.foreign_layout(np.array(models[name].get_layer("conv1").kernel))}
        order = [layer.name for layer in models[name].layers if layer.name in ("norm1", "pool1")]
        path = tmp_path / f"{name}.caffemodel"
        writers.write_caffemodel(path, tensors)
        without_blobs = b"".join(writers.field(100, writers.field(1, layer.encode())) for layer in order)
        path.write_bytes(path.read_bytes() + without_blobs)
        assert weights.load(models[name], path, partial=True).matched
        assert_refused(models[other], path, f"the builder {name}", partial=True)


def test_normalised_responses_in_caffe(writers, tmp_path):
    arguments = {"alpha": 0.0625, "classes": 3, "input_shape": (64, 64, 3)}
    paper, plain = ks.GoogLeNet(**arguments), ks.GoogLeNet(**arguments, variant="no_lrn")
    kernel = writers.foreign_layout(np.array(paper.get_layer("conv1_conv").kernel))
    for layers, fits, other, needs in (
        (("pool1/3x3_s2", "pool1/norm1"), paper, plain, "paper"),
        (("pool1/3x3_s2",), plain, paper, "no_lrn"),
    ):
        path = tmp_path / f"{needs}.caffemodel"
        writers.write_caffemodel(path, {"conv1/7x7_s2.blob0": kernel})
        path.write_bytes(
            path.read_bytes() + b"".join(writers.field(100, writers.field(1, layer.encode())) for layer in layers)
        )
        assert weights.load(fits, path, partial=True).matched
        assert_refused(other, path, f"variant='{needs}'", partial=True)


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("proposal_generator.rpn_head.objectness_logits.weight", "variant='detectron2'"),
        ("rpn.head.cls_logits.weight", None),
    ],
)
def test_release_of_mask_rcnn(writers, tmp_path, name, needs):
    """With other classes, shapes do not tell the releases from each other."""
    model = ks.MaskRCNN(**ks.model_card("MaskRCNN").tiny)
    tensors = {name: writers.foreign_layout(np.array(model.get_layer("rpn_logits").kernel))}
    writers.write_torch_zip(tmp_path / "net.pth", tensors)
    if needs is None:
        assert weights.load(model, tmp_path / "net.pth", partial=True).matched
    else:
        assert_refused(model, tmp_path / "net.pth", needs, partial=True, skip_mismatch=True)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("changes", [{"strides": 2}, {"dilation_rate": 2}, {"epsilon": 0.1}])
def test_whole_models_tell_their_settings(tmp_path, suffix, nested, changes):
    def build(strides=1, dilation_rate=1, epsilon=1e-5):
        image = keras.Input((8, 8, 2))
        x = keras.layers.Conv2D(3, 3, strides, "same", dilation_rate=dilation_rate, name="conv")(image)
        model = keras.Model(image, keras.layers.BatchNormalization(epsilon=epsilon, name="bn")(x), name="inner")
        return keras.Model(image, model(image)) if nested else model

    path = tmp_path / f"net{suffix}"
    build(**changes).save(path)
    assert_refused(build(), path, f"{next(iter(changes))}=.* in layer '.*', which has")
    build(epsilon=1.001e-5).save(path)
    assert weights.load(build(), path).complete


def test_whole_models_of_one_builder(tmp_path):
    bottlenecks(padding="valid").save(tmp_path / "unpadded.keras")
    bottlenecks(stride_in_1x1=True).save(tmp_path / "strided.keras")
    assert_refused(
        bottlenecks(), tmp_path / "unpadded.keras", "padding by layer 'pool1_pool_pad'|no padding by layer 'pool1_pad'"
    )
    assert_refused(bottlenecks(), tmp_path / "strided.keras", r"strides=\(2, 2\) in layer")
    assert weights.load(bottlenecks(padding="valid"), tmp_path / "unpadded.keras").complete
