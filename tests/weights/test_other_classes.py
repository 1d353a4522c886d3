"""A trained network is loaded for other classes, all but its last layers, and trained on."""

import numpy as np
import pytest

from keras_segattn import model_card, training, weights
from keras_segattn.data.instance_batches import InstanceBatches

# Card → layers whose weights depend on the number of classes.
HEADS = {
    "MaskRCNN": {"box_logits", "box_deltas", "mask_logits"},
    "FCN8s": {"score_fr", "score_pool4", "score_pool3", "upscore2", "upscore_pool4", "upscore8"},
}


def miniature(name, classes):
    card = model_card(name)
    return card.builder(**{**card.tiny, "classes": classes})


@pytest.mark.parametrize("name", HEADS)
def test_all_but_the_heads_is_loaded(tmp_path, name):
    source, target = miniature(name, 5), miniature(name, 3)
    path = weights.save(source, tmp_path / "five.safetensors")
    with pytest.raises(weights.WeightsError, match=r"weights\.load\(…, skip_mismatch=True\)"):
        weights.load(target, path)
    before = {layer.name: layer.get_weights() for layer in target.layers}
    report = weights.load(target, path, skip_mismatch=True)
    assert {mismatch.layer for mismatch in report.shape_mismatch} == HEADS[name]
    assert not report.missing
    assert not report.unexpected
    for layer in target.layers:
        expected = before[layer.name] if layer.name in HEADS[name] else source.get_layer(layer.name).get_weights()
        for ours, theirs in zip(layer.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def pictures():
    """Two pictures with a bright object of class 1."""
    for number in range(2):
        mask = np.zeros((1, 64, 96), "uint8")
        mask[0, 10 + number : 40, 20:60] = 1
        objects = {
            "bbox": np.array([[20, 10 + number, 60, 40]], "float32"),
            "label": np.array([1], "int32"),
            "is_crowd": np.array([False]),
            "mask": mask,
        }
        yield {"image": 255 * mask[0, ..., None].repeat(3, axis=-1), "objects": objects}


@pytest.mark.thorough
def test_a_detector_of_five_classes_is_trained_on_three(tmp_path):
    path = weights.save(miniature("MaskRCNN", 5), tmp_path / "five.safetensors")
    detector = miniature("MaskRCNN", 3)
    weights.load(detector, path, skip_mismatch=True)
    before = detector.get_layer("box_logits").get_weights()
    batches = InstanceBatches(list(pictures()), batch_size=2, size=(64, 96), slots=2)
    trainer = training.InstanceTrainer(detector, training.RegionChoice(regions=8, proposals=12))
    history = training.train_instances(trainer, batches, epochs=1, progress=False)
    assert np.isfinite(history.history["loss"]).all()
    assert not np.array_equal(before[0], detector.get_layer("box_logits").kernel)
