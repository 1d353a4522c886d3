"""Tests of the training of Mask R-CNN and MNC: targets, regions, losses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from harness import images, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_segattn import model_card
from keras_segattn.training import CascadeTrainer, InstanceTrainer, RegionChoice, freeze_batch_norm
from keras_segattn.training.region_targets import Matches, choose_regions, match, smooth_l1
from keras_segattn.training.region_trainer import masks_in, of_class

CHOICE = RegionChoice(
    anchors=32, anchor_positives=16, proposals=20, proposals_before_nms=30, regions=16, region_positives=8
)
TRAINERS = {"MaskRCNN": InstanceTrainer, "MNC": CascadeTrainer}
DELTAS = {"MaskRCNN": "rpn_deltas", "MNC": "rpn_bbox_pred"}
SIZE = (64, 96)


def batch_of(objects=3, slots=4, seed=0):
    """Make two pictures with bright rectangles; slots beyond `objects` are empty."""
    random = np.random.default_rng(seed)
    batch = {
        "image": 0.1 * images((*SIZE, 3), batch=2),
        "boxes": np.zeros((2, slots, 4), "float32"),
        "classes": np.zeros((2, slots), "int32"),
        "masks": np.zeros((2, slots, *SIZE), "uint8"),
    }
    for i in range(2):
        for slot in range(objects):
            x, y = random.integers(0, 60), random.integers(0, 30)
            label = int(random.integers(1, 4))
            batch["image"][i, y : y + 30, x : x + 32, label - 1] += 2
            batch["boxes"][i, slot] = (x, y, x + 32, y + 30)
            batch["classes"][i, slot] = label
            batch["masks"][i, slot, y : y + 30, x : x + 32] = 1
    return batch


def trainer_of(name, **changes):
    model = tiny_model(model_card(name), **changes)
    freeze_batch_norm(model)
    return TRAINERS[name](model, CHOICE)


def test_an_anchor_takes_the_object_it_overlaps_most():
    anchors = ops.convert_to_tensor([[0.0, 0, 10, 10], [0, 0, 10, 20], [40, 40, 50, 50], [0, 30, 10, 45]])
    objects = ops.convert_to_tensor([[[0.0, 0, 10, 10], [0, 32, 10, 60], [0, 0, 50, 50]]])
    classes = ops.convert_to_tensor([[2, 1, 0]])  # the last slot is empty, so its box must not count
    found = match(anchors, objects, classes, 0.7, 0.3, best_for_each_object=True)
    np.testing.assert_array_equal(found.positive, [[True, False, False, True]])  # the last is best for object 2
    np.testing.assert_array_equal(found.negative, [[False, False, True, False]])
    np.testing.assert_array_equal(np.asarray(found.objects)[0, [0, 1, 3]], [0, 0, 1])
    strict = match(anchors, objects, classes, 0.7, 0.3)
    np.testing.assert_array_equal(strict.positive, [[True, False, False, False]])


def test_what_lies_in_a_crowd_is_no_background():
    boxes = ops.convert_to_tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    crowd = ops.convert_to_tensor([[[0.0, 0, 40, 40]]])
    found = match(boxes, crowd, ops.convert_to_tensor([[-1]]), 0.5, 0.5)
    assert not np.asarray(found.positive).any()
    np.testing.assert_array_equal(found.negative, [[False, True]])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
def test_as_many_regions_are_chosen_as_asked_for(seed, positives, negatives):
    random = np.random.default_rng(seed)
    positive = random.random((2, 50)) < positives
    negative = ~positive & (random.random((2, 50)) < negatives)
    matches = Matches(*(ops.convert_to_tensor(x) for x in (positive, negative, np.zeros((2, 50), "int32"))))
    noise = ops.convert_to_tensor(random.random((2, 50)).astype("float32"))
    indices, chosen, counts = (np.asarray(x) for x in choose_regions(matches, 20, 5, noise))
    for i in range(2):
        expected = min(5, positive[i].sum())
        assert chosen[i].sum() == expected
        assert chosen[i, :expected].all()
        assert counts[i].sum() == min(20, expected + negative[i].sum())
        assert positive[i, indices[i, chosen[i]]].all()
        assert negative[i, indices[i, counts[i] & ~chosen[i]]].all()
        assert len(set(indices[i])) == 20


def test_smooth_l1_is_torchvisions():
    np.testing.assert_allclose(smooth_l1(ops.convert_to_tensor([0.0, 0.5, -2.0]), 1.0), [0, 0.125, 1.5])
    np.testing.assert_allclose(smooth_l1(ops.convert_to_tensor([0.0, 0.5, -2.0]), 0.0), [0, 0.5, 2])


@pytest.mark.parametrize(("channels", "expected"), [(3, [0, 2]), (2, [0, 1]), (1, [0, 0])])
def test_channels_may_leave_out_the_background(channels, expected):
    values = ops.convert_to_tensor(np.arange(2 * channels, dtype="float32").reshape(1, 2, channels) % channels)
    found = np.asarray(of_class(values, ops.convert_to_tensor([[1, 2]]), 3))
    np.testing.assert_array_equal(found[0, 1], expected[1])


def test_masks_are_cropped_to_their_boxes():
    masks = np.zeros((1, 2, 20, 20), "uint8")
    masks[0, 1, 4:12, 4:8] = 1
    boxes = ops.convert_to_tensor([[[4.0, 4, 12, 12]]])
    found = np.asarray(masks_in(boxes, masks, ops.convert_to_tensor([[1]]), (4, 4)))
    assert (found[0, 0, 1:3, 0] == 1).all()
    assert (found[0, 0, :, 3] == 0).all()
    assert not np.asarray(masks_in(boxes, masks, ops.convert_to_tensor([[0]]), (4, 4))).any()


@pytest.mark.thorough
@pytest.mark.parametrize("name", TRAINERS)
def test_every_loss_falls_on_what_it_is_trained_on(name):
    trainer = trainer_of(name)
    batch = batch_of()
    before = {key: float(value) for key, value in trainer(batch, training=False).items()}
    trainer.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    history = trainer.fit(Repeated(batch, 10), epochs=2, verbose=0).history
    assert set(before) == {tracker.name for tracker in trainer.trackers}
    assert all(np.isfinite(values).all() for values in history.values())
    assert history["loss"][1] < 0.9 * sum(before.values())


class Repeated(keras.utils.PyDataset):
    """Data set that repeats one batch several times."""

    def __init__(self, batch, count):
        super().__init__()
        self.batch, self.count = batch, count

    @property
    def num_batches(self):
        return self.count

    def __getitem__(self, index):
        return self.batch


@pytest.mark.parametrize("name", TRAINERS)
def test_pictures_without_objects_give_finite_losses_and_gradients(name):
    import tensorflow as tf

    trainer = trainer_of(name)
    with tf.GradientTape() as tape:
        losses = trainer(batch_of(objects=0), training=True)
        total = sum(losses.values())
    gradients = tape.gradient(total, [v.value for v in trainer.trainable_variables], unconnected_gradients="zero")
    assert np.isfinite(float(total))
    assert all(np.isfinite(g.numpy()).all() for g in gradients)
    for key, value in losses.items():
        if key.startswith(("mask", "box", "rpn_box")) and "classification" not in key:
            assert float(value) == 0, key


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "reaches"), [("MaskRCNN", False), ("MNC", True)])
def test_only_the_cascade_passes_gradients_through_coordinates(name, reaches):
    import tensorflow as tf

    trainer = trainer_of(name)
    kernel = trainer.detector.get_layer(DELTAS[name]).kernel.value
    with tf.GradientTape() as tape:
        loss = trainer(batch_of(), training=True)["classification"]
    gradient = tape.gradient(loss, kernel, unconnected_gradients="zero").numpy()
    assert bool(np.abs(gradient).max() > 0) is reaches


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="'resnet18' has no layer 'proposals' of class Proposals"):
        InstanceTrainer(tiny_model(model_card("ResNet18")))
    with pytest.raises(ValueError, match="regions must be a positive integer, received 0"):
        InstanceTrainer(tiny_model(model_card("MaskRCNN")), RegionChoice(regions=0))


def train_on_two_replicas():
    """Print results of training on two replicas with half a batch each; this needs a process of its own."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    keras.utils.set_random_seed(0)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        trainer = trainer_of("MaskRCNN")
        trainer.compile(keras.optimizers.SGD(1e-6), jit_compile=False)
    kernel = trainer.detector.get_layer("rpn_logits").kernel
    before = kernel.numpy()
    history = trainer.fit(Repeated(batch_of(), 2), verbose=0).history
    copies = [copy.numpy() for copy in strategy.experimental_local_results(kernel.value)]
    facts = {
        "loss": history["loss"][0],
        "parts": [history[tracker.name][0] for tracker in trainer.trackers],
        "moved": float(np.abs(kernel.numpy() - before).max()),
        "apart": float(np.abs(copies[0] - copies[1]).max()),
    }
    print(json.dumps(facts))  # noqa: T201


@pytest.mark.thorough
def test_replicas_share_a_batch():
    folder = Path(__file__).parent
    code = f"import sys; sys.path[:0] = {[str(folder), str(folder.parent)]}; import test_instance_trainers as tests; "
    code += "tests.train_on_two_replicas()"
    # oneDNN's kernels corrupt memory if two logical devices of one processor run them at the same time.
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    facts = json.loads(run.stdout.splitlines()[-1])
    assert np.isfinite(facts["loss"])
    # The reported loss is that of the whole batch, not the sum over replicas.
    assert facts["loss"] == pytest.approx(sum(facts["parts"]), rel=0.05)
    assert facts["moved"] > 0
    assert facts["apart"] == 0


def test_mixed_precision_trains_in_float32_where_boxes_are():
    keras.config.set_dtype_policy("mixed_bfloat16")
    trainer = trainer_of("MaskRCNN")
    losses = trainer(batch_of(), training=True)
    assert all(np.isfinite(float(value)) for value in losses.values())
    assert all(value.dtype == "float32" for value in losses.values())
