"""Mask R-CNN: forms, counts, files of other releases, odd pictures."""

import keras
import numpy as np
import pytest
import safetensors.numpy
from harness import images, randomise, tiny_model, without_weights

import keras_segattn
from keras_segattn import MaskRCNN, model_card, preprocessing_of, weights
from keras_segattn.instances.mask_rcnn_weights import translate
from keras_segattn.layers import RoIAlign

TINY = dict(model_card("MaskRCNN").tiny)
# Rounding of float32 sums, accumulated in another order.
TOLERANCE = 1e-4


def found(model, x):
    return {name: np.asarray(value) for name, value in model(x, training=False).items()}


# No test may change the models of these two fixtures.
@pytest.fixture(scope="module")
def fixed():
    return tiny_model(model_card("MaskRCNN"))


@pytest.fixture(scope="module")
def of_any_size():
    return tiny_model(model_card("MaskRCNN"), input_shape=(None, None, 3))


@pytest.mark.parametrize(
    ("changes", "mask_size"),
    [
        ({"form": "c4"}, 14),
        pytest.param({"form": "c4", "backbone": "squeezenet1_1"}, 28, marks=pytest.mark.thorough),
        ({"backbone": "squeezenet1_1", "class_agnostic_masks": True}, 28),
        pytest.param({"backbone": "efficientnet_lite0", "roi_operator": "warp"}, 28, marks=pytest.mark.thorough),
        ({"roi_operator": "pool"}, 28),
        ({"variant": "torchvision_v2"}, 28),
        pytest.param({"variant": "detectron2"}, 28, marks=pytest.mark.thorough),
        pytest.param({"variant": "matterport"}, 28, marks=pytest.mark.thorough),
    ],
    ids=str,
)
def test_every_form_finds_something(changes, mask_size):
    model = MaskRCNN(**TINY | changes)
    randomise(model)
    outputs = found(model, images(TINY["input_shape"]))
    assert outputs["masks"].shape == (2, 5, mask_size, mask_size)
    assert (outputs["count"] > 0).all()
    for i in range(2):
        count = outputs["count"][i]
        assert ((outputs["classes"][i] > 0) == (np.arange(5) < count)).all()
        assert (np.diff(outputs["scores"][i, :count]) <= 0).all()
        assert ((outputs["masks"][i] >= 0) & (outputs["masks"][i] <= 1)).all()
        boxes = outputs["boxes"][i, :count]
        assert (boxes >= 0).all()
        assert (boxes <= [96, 64, 96, 64]).all()
        assert not outputs["boxes"][i, count:].any()


def test_parts_have_as_many_parameters_as_torchvision_s():
    parts = {"conv": 23_454_912, "fpn": 3_344_384, "rpn": 593_935, "box": 13_895_680 + 466_375}
    parts |= {"mask": 2_360_320 + 285_787}  # the head, and the layer that predicts from it
    with without_weights():
        model = MaskRCNN()
    found = dict.fromkeys(parts, 0)
    for layer in model.layers:
        if layer.weights and not isinstance(layer, keras.layers.BatchNormalization):  # it is frozen in torchvision
            found[layer.name.split("_")[0].rstrip("12345")] += layer.count_params()
    assert found == parts


def test_any_size_gives_what_a_fixed_size_gives(fixed, of_any_size):
    x = images(TINY["input_shape"])
    outputs = found(of_any_size, x)
    for name, value in found(fixed, x).items():
        np.testing.assert_allclose(outputs[name], value, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (70, 33)])
def test_small_and_long_pictures(of_any_size, size):
    outputs = found(of_any_size, images((*size, 3), batch=1))
    assert all(np.isfinite(value).all() for value in outputs.values())


def test_a_picture_without_objects_gives_none():
    model = tiny_model(model_card("MaskRCNN"))
    kernel, _ = model.get_layer("box_logits").get_weights()
    model.get_layer("box_logits").set_weights([0 * kernel, np.eye(4, dtype="float32")[0] * 50])
    outputs = found(model, images(TINY["input_shape"]))
    assert not outputs["count"].any()
    assert not any(outputs[name].any() for name in outputs)


def test_padding_beside_a_picture_holds_no_boxes():
    model = MaskRCNN(**TINY, padded_images=True)
    randomise(model)
    x = images(TINY["input_shape"])
    outputs = model([x, np.array([[64.0, 96], [30, 40]], "float32")])
    assert np.asarray(outputs["boxes"])[0].max() > 40
    assert (np.asarray(outputs["boxes"])[1] <= [40, 30, 40, 30]).all()


def test_pasted_masks_are_an_output_of_their_own():
    with without_weights():
        outputs = MaskRCNN(**TINY, paste="detectron2").output
    assert outputs["pasted_masks"].shape == (None, 5, 64, 96)
    assert outputs["masks"].shape == (None, 5, 28, 28)


def test_released_weights_may_need_another_epsilon():
    with without_weights():
        model = MaskRCNN(**TINY, variant="torchvision_coco")
    kinds = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert kinds
    assert all(layer.epsilon == 0 for layer in kinds)


def detectron2_file(model, path):
    """Write weights as Detectron2 does: with other names, the background last, and constants beside them."""
    names = model_card("MaskRCNN").weight_names
    leaves = {"kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean"}
    leaves |= {"moving_variance": "running_var", "bias": "bias"}
    tensors = {"pixel_mean": np.zeros(3, "float32")}
    for layer in model.layers:
        for variable in layer.weights:
            value = variable.numpy()
            if variable.name == "kernel":
                value = torch_layout(layer, value)
            if layer.name == "box_logits":
                value = np.roll(value, -1, axis=0)
            name = next(n for n in names[layer.name] if detectron(n))
            tensors[f"{name}.{leaves[variable.name]}"] = np.ascontiguousarray(value)
    safetensors.numpy.save_file(tensors, path)


def detectron(name):
    parts = ("backbone.bottom_up", "backbone.fpn_", "proposal_generator", "box_head.fc1", "box_head.fc2")
    parts += ("box_predictor", "mask_fcn", "mask_head.deconv", "mask_head.predictor")
    return any(part in name for part in parts) and "mask_predictor" not in name


def torch_layout(layer, kernel):
    if kernel.ndim == 4:
        return kernel.transpose(3, 2, 0, 1)
    if layer.name == "box_fc1":  # flattened as channels, rows, columns
        return kernel.reshape(7, 7, -1, kernel.shape[1]).transpose(3, 2, 0, 1).reshape(kernel.shape[1], -1)
    return kernel.T


def test_detectron2_s_files_load(tmp_path):
    settings = TINY | {"backbone": "resnet50", "variant": "detectron2"}
    model = MaskRCNN(**settings)
    randomise(model)
    layers = ("box_logits", "box_fc1", "conv4_block2_3_conv", "fpn_lateral3", "mask_logits", "rpn_deltas")
    kernels = {layer: model.get_layer(layer).kernel.numpy() for layer in (*layers, "mask_deconv")}
    detectron2_file(model, tmp_path / "model.safetensors")
    randomise(model, seed=1)
    report = weights.load(model, tmp_path / "model.safetensors")
    assert report.complete, report
    assert kernels["mask_deconv"].shape == tuple(model.get_layer("mask_deconv").kernel.shape)
    for layer in layers:
        np.testing.assert_array_equal(model.get_layer(layer).kernel, kernels[layer])
    assert preprocessing_of(model).channels == "BGR"


def test_matterport_s_conventions_are_translated():
    random = np.random.default_rng(0)
    tensors = {
        "mrcnn_bbox_fc.kernel": random.normal(size=(8, 4 * 3)).astype("float32"),
        "rpn_model.rpn_class_raw/kernel": random.normal(size=(1, 1, 8, 6)).astype("float32"),
        "rpn_model.rpn_bbox_pred/bias": np.arange(12, dtype="float32"),
    }
    ours = translate(tensors)
    np.testing.assert_array_equal(ours["mrcnn_bbox_fc.kernel"][:, 0], tensors["mrcnn_bbox_fc.kernel"][:, 1])
    scores = tensors["rpn_model.rpn_class_raw/kernel"]
    # Our anchor of ratio 2 (height ÷ width) is their first, of ratio 0.5 (width ÷ height).
    np.testing.assert_allclose(ours["rpn_class_raw.kernel"][..., 2], scores[..., 1] - scores[..., 0])
    np.testing.assert_allclose(ours["rpn_bbox_pred.bias"][8:], [0.1, 0.0, 0.6, 0.4], rtol=1e-6)
    with without_weights():
        model = MaskRCNN(**TINY | {"backbone": "resnet50", "variant": "matterport"})
    known = {name for names in model_card("MaskRCNN").weight_names.values() for name in names}
    assert {"res2a_branch2a", "bn3d_branch2c", "fpn_c5p5", "fpn_p2", "mrcnn_class_conv1", "mrcnn_mask_bn4"} <= known
    assert {"box_fc1_bn", "mask_conv4_bn"} <= {layer.name for layer in model.layers}
    assert preprocessing_of(model).mean == (123.7, 116.8, 103.9)


def test_heads_pass_gradients_to_the_pyramid(fixed):
    import tensorflow as tf

    crop = next(layer for layer in fixed.layers if isinstance(layer, RoIAlign))
    kernel = fixed.get_layer("fpn_lateral3").kernel.value
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(fixed(images(TINY["input_shape"]))["masks"])
    assert crop.name == "box_align"
    assert np.abs(tape.gradient(loss, kernel).numpy()).max() > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 1}, "the background and at least one object, received 1"),
        ({"form": "c5"}, "form must be one of 'fpn', 'c4', received 'c5'"),
        ({"variant": "caffe2"}, "variant must be one of"),
        ({"roi_operator": "crop"}, "roi_operator must be one of"),
        ({"anchors": {"sizes": (8, 16)}}, "anchors must have one size per level"),
        ({"backbone": "alexnet"}, "expected a backbone with taps at strides 4, 8 and 16"),
        ({"proposals": 12}, "proposals must be ProposalRules or a dict of some of count, before_nms, .*, received 12"),
        ({"proposals": {"count": 0}}, "count must be a positive integer, received 0"),
        ({"detections": {"least_score": 2.0}}, "least_score must be within 0..1, received 2.0"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with without_weights(), pytest.raises(ValueError, match=message):
        MaskRCNN(**TINY | changes)


def test_it_is_public():
    with without_weights():
        assert keras_segattn.get_model("mask_rcnn", **TINY).name == "mask_rcnn"
