"""The recurrent networks are as Pinheiro & Collobert describe them, and label every pixel like the patch networks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from harness import randomise, without_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from numpy.lib.stride_tricks import sliding_window_view

from keras_segattn import RecurrentConvNet, graph, preprocessing_of, weights
from keras_segattn.layers import DilatedConv2D
from keras_segattn.segmentation.recurrent_conv_net import NETWORKS, depths, patch_size, preprocess_input
from keras_segattn.training.deep_supervision import supervised_model

VARIANTS = [
    ("cnn1", 1, 133),
    ("rcnn2", 1, 25),
    ("rcnn2", 2, 121),
    ("rcnn3", 1, 23),
    ("rcnn3", 2, 67),
    ("rcnn3", 3, 155),
]
NARROW = {"widths": (2, 3), "classes": 2}
# Rounding of float32 sums of some hundred products, accumulated in another order.
TOLERANCE = 1e-5


def narrow(network, instances, **changes):
    model = RecurrentConvNet(network=network, instances=instances, **{**NARROW, **changes})
    randomise(model)
    return model


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(*shape, 3)).astype("float32")


def padded(image, size):
    """Pad pictures by zeros, so that there is a patch around every pixel."""
    margin = [size // 2] * 2
    return np.pad(image, [[0, 0], margin, margin, [0, 0]])


def slide(patch_model, image):
    """Apply the patch network to the patch around every pixel."""
    size = patch_model.input_shape[1]
    windows = sliding_window_view(padded(image, size), (size, size), axis=(1, 2))
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, size, size, image.shape[-1])
    return np.asarray(patch_model.predict_on_batch(patches)).reshape(*image.shape[:3], -1)


def numpy_network(image, parts, network, instances, rescale="valid", feedback="scores", second_tanh=True):
    """Apply the strided network, written out in NumPy, to pictures of any size; return the planes of each instance."""

    def conv(x, kernel, bias):
        windows = sliding_window_view(x, kernel.shape[:2], axis=(1, 2))
        return np.einsum("bhwcij,ijco->bhwo", windows, kernel, optimize=True) + bias

    def pool(x, side):
        rows, columns = (n // side * side for n in x.shape[1:3])
        blocks = x[:, :rows, :columns].reshape(len(x), rows // side, side, columns // side, side, -1)
        return blocks.max(axis=(2, 4))

    def resized(x, sizes):
        for axis, size in zip((1, 2), sizes, strict=True):
            have = x.shape[axis]
            place = np.clip((np.arange(size) + 0.5) * have / size - 0.5, 0, have - 1)
            low = np.minimum(place.astype(int), have - 2)
            share = (place - low).astype("float32").reshape([-1 if a == axis else 1 for a in range(4)])
            x = (1 - share) * x.take(low, axis) + share * x.take(low + 1, axis)
        return x

    layout = NETWORKS[network]
    field, stride = layout.input_size(1), layout.stride
    found, scale = [], image
    for number in range(instances):
        if number:
            planes = found[-1]
            if feedback == "softmax":
                planes = np.exp(planes) / np.exp(planes).sum(axis=-1, keepdims=True)
            if rescale == "valid":  # pixels in the middle of the fields of the planes' pixels
                places = (field // 2 + stride * np.arange(n) for n in planes.shape[1:3])
                scale = scale[:, *np.ix_(*places)]
            else:
                scale = resized(scale, planes.shape[1:3])
            x = np.concatenate([planes, scale], axis=-1)
        elif layout.instances > 1:
            x = np.concatenate([np.zeros((*scale.shape[:3], parts[-1].size), "float32"), scale], axis=-1)
        else:
            x = scale
        for stage, (_, side) in enumerate(layout.stages):
            x = pool(conv(x, *parts[2 * stage : 2 * stage + 2]), side)
            x = np.tanh(x) if stage == 0 or second_tanh else x
        found.append(conv(x, *parts[4:]))
    return found


def stitched(image, parts, network, instances):
    """Shift and stitch: apply the strided network to all shifts of the padded picture, and interleave the results."""
    stride = NETWORKS[network].stride ** instances
    whole, (height, width) = padded(image, patch_size(network, instances)), image.shape[1:3]
    scores = np.full((*image.shape[:3], parts[-1].size), np.nan, "float32")
    for row in range(min(stride, height)):
        for column in range(min(stride, width)):
            # Zeros at the end, so that no pixel is lost where the stride does not divide the size.
            shifted = np.pad(whole[:, row:, column:], [[0, 0], [0, stride], [0, stride], [0, 0]])
            target = scores[:, row::stride, column::stride]
            target[:] = numpy_network(shifted, parts, network, instances)[-1][:, : target.shape[1], : target.shape[2]]
    return scores


@pytest.mark.parametrize(("network", "instances", "size"), VARIANTS)
def test_a_patch_shrinks_to_one_pixel(network, instances, size):
    assert patch_size(network, instances) == size
    with without_weights():
        model = RecurrentConvNet(network=network, instances=instances, patches=True)
    assert model.input_shape == (None, size, size, 3)
    assert model.output_shape == (None, 1, 1, 8)
    # The planes of an instance have the size of the patch of the instances that follow.
    rest = [patch_size(network, n) if n else 1 for n in range(instances)]
    assert [model.get_layer(f"scores_{n}").output.shape[1] for n in range(1, instances + 1)] == rest[::-1]


def test_parameters_do_not_depend_on_the_number_of_instances():
    with without_weights():
        counts = [RecurrentConvNet(network=n, instances=p).count_params() for n, p, _ in VARIANTS]
        assert counts == [33_633, *5 * [98_083]]
        assert RecurrentConvNet(network="rcnn2").count_params() == RecurrentConvNet().count_params() == 98_083


def test_all_instances_use_the_same_variables():
    with without_weights():
        model = RecurrentConvNet(**NARROW)
    layers = [layer for layer in model.layers if layer.weights]
    assert [layer.name for layer in layers] == ["conv1", "conv2", "score"]
    for layer in layers:
        assert isinstance(layer, DilatedConv2D)
        assert sum(node.operation is layer for node in graph.calls(model)) == 3
    assert layers[0].kernel.shape == (8, 8, 2 + 3, 2)
    assert depths(model) == ["scores_1", "scores_2"]


@pytest.mark.parametrize(
    ("network", "instances", "changes"),
    [
        *((network, instances, {}) for network, instances, _ in VARIANTS),
        ("rcnn3", 2, {"feedback": "softmax", "second_tanh": False}),
    ],
)
def test_the_labelling_network_equals_the_patch_network_at_every_pixel(network, instances, changes):
    model = narrow(network, instances, **changes)
    patch_model = RecurrentConvNet(network=network, instances=instances, patches=True, **NARROW, **changes)
    patch_model.set_weights(model.get_weights())
    image = pictures(2, 3, 2)
    expected = slide(patch_model, image)
    assert expected.std() > 0.01
    np.testing.assert_allclose(model(image), expected, atol=TOLERANCE)
    first = padded(image, patch_size(network, instances))[:, :-2, :-1]
    alone = numpy_network(first, model.get_weights(), network, instances, **changes)[-1][:, 0, 0]
    np.testing.assert_allclose(expected[:, 0, 0], alone, atol=TOLERANCE)


@pytest.fixture(scope="module")
def deep():
    return {name: narrow(name, 2) for name in ("rcnn2", "rcnn3")}


@settings(max_examples=6, deadline=None)
@given(name=st.sampled_from(["rcnn2", "rcnn3"]), height=st.integers(1, 9), width=st.integers(1, 9))
def test_the_labelling_network_is_shift_and_stitch(deep, name, height, width):
    model, image = deep[name], pictures(1, height, width, seed=height)
    np.testing.assert_allclose(model(image), stitched(image, model.get_weights(), name, 2), atol=TOLERANCE)


@pytest.mark.parametrize(
    ("network", "instances", "stride"), [("cnn1", 1, 4), ("rcnn2", 1, 2), ("rcnn3", 2, 2), ("rcnn3", 2, 4)]
)
def test_every_other_pixel_has_the_scores_of_the_network_that_labels_all(network, instances, stride):
    every, some = (
        narrow(network, instances),
        RecurrentConvNet(network=network, instances=instances, stride=stride, **NARROW),
    )
    some.set_weights(every.get_weights())
    for size in ((4, 6), (5, 3), (1, 1)):
        image = pictures(2, *size)
        expected = np.asarray(every(image))[:, ::stride, ::stride].repeat(stride, axis=1).repeat(stride, axis=2)
        np.testing.assert_allclose(some(image), expected[:, : size[0], : size[1]], atol=TOLERANCE)


def test_scores_of_every_other_pixel_are_supervised_alike():
    every, some = narrow("rcnn3", 2), RecurrentConvNet(instances=2, stride=2, **NARROW)
    some.set_weights(every.get_weights())
    image = pictures(1, 4, 6)
    whole, half = (supervised_model(model, depths(model), image.shape)(image) for model in (every, some))
    np.testing.assert_allclose(half, np.asarray(whole)[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2), atol=TOLERANCE)


def test_a_patch_whose_whole_picture_is_resized():
    model = narrow("rcnn3", 3, patches=True, rescale="whole")
    patch = pictures(2, 155, 155)
    expected = numpy_network(patch, model.get_weights(), "rcnn3", 3, "whole")[-1]
    np.testing.assert_allclose(model(patch), expected, atol=TOLERANCE)
    valid = numpy_network(patch, model.get_weights(), "rcnn3", 3)[-1]
    assert np.abs(expected - valid).max() > 100 * TOLERANCE


def test_the_scores_of_an_instance_are_those_of_a_shallower_network(deep):
    model, image = deep["rcnn3"], pictures(1, 4, 5)
    shallow = RecurrentConvNet(instances=1, **NARROW)
    shallow.set_weights(model.get_weights())
    planes = ops.convert_to_numpy(keras.Model(model.input, model.get_layer("scores_1").output)(image))
    margin = (planes.shape[1] - 4) // 2
    centre = planes[:, margin : margin + 4, margin : margin + 5]
    np.testing.assert_allclose(centre, shallow(image), atol=TOLERANCE)


def test_weights_of_class_planes_have_no_gradient_in_the_first_instance():
    model = narrow("rcnn3", 2, patches=True)
    maps = keras.Model(model.input, [model.get_layer(f"scores_{n}").output for n in (1, 2)])
    kernel = model.get_layer("conv1").kernel
    with tf.GradientTape(persistent=True) as tape:
        first, second = (ops.sum(scores**2) for scores in maps(pictures(1, 67, 67)))
    for loss, planes_matter in ((first, False), (second, True)):
        gradient = tape.gradient(loss, kernel.value).numpy()
        assert bool(np.abs(gradient[:, :, :2]).max() > 0) is planes_matter
        assert np.abs(gradient[:, :, 2:]).max() > 0


def test_a_picture_of_one_colour_has_one_label_far_from_its_borders():
    model = narrow("rcnn3", 1)
    grey = np.full((1, 30, 30, 3), 255, "uint8")
    scores = ops.convert_to_numpy(model(preprocess_input(grey)))
    assert np.isfinite(scores).all()
    inside = scores[0, 11:-11, 11:-11].reshape(-1, 2)
    np.testing.assert_allclose(inside, np.broadcast_to(inside[0], inside.shape), atol=TOLERANCE)
    # The padding is the mean colour, to which a picture of that colour has no border.
    mean = ops.convert_to_numpy(model(np.zeros((1, 9, 9, 3), "float32")))
    np.testing.assert_allclose(mean, np.broadcast_to(mean[0, 0, 0], mean.shape), atol=TOLERANCE)


def test_weight_files_fit_both_networks_of_any_depth(tmp_path):
    model = narrow("rcnn3", 3)
    weights.save(model, tmp_path / "rcnn3.safetensors")
    patch_model = RecurrentConvNet(instances=1, patches=True, weights=tmp_path / "rcnn3.safetensors", **NARROW)
    for ours, theirs in zip(patch_model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert preprocessing_of(patch_model) == preprocessing_of(model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stride": 3}, "stride must divide 8, .* received 3 with patches=False"),
        ({"stride": 2, "patches": True}, "be 1 for patches; received 2 with patches=True"),
        ({"network": "rcnn4"}, "network must be one of 'cnn1', 'rcnn2', 'rcnn3', received 'rcnn4'"),
        ({"network": "cnn1", "instances": 2}, "cnn1 is not recurrent: expected instances=1, received 2"),
        ({"instances": 0}, "instances must be a positive integer, received 0"),
        ({"widths": (25,)}, r"widths must be 2 numbers of planes, received \(25,\)"),
        ({"widths": (25, 0)}, "widths must be a positive integer, received 0"),
        ({"feedback": "log"}, "feedback must be one of 'scores', 'softmax', received 'log'"),
        ({"second_tanh": 1.5}, "second_tanh must be one of True, False"),
        (
            {"rescale": "whole"},
            "rescale='whole' needs patches=True: pictures that are resized with each patch share",
        ),
        ({"patches": True, "input_shape": (155, 154, 3)}, r"rcnn3 with 3 instances has 155×155 pixels.* 154"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        RecurrentConvNet(**arguments)
