"""Interpretation of the outputs of generators."""

import numpy as np
import pytest

from keras_segattn.facts import Facts
from keras_segattn.fields import Noise, OneHot, Picture
from keras_segattn.tasks import task_of
from keras_segattn.tasks.options import checked_options

TASK = task_of("generate")
SHAPES = {"label": (3,), "z": (8,)}


def generated(conditional=True, final=None, labels=None, **options):
    """Run a toy generator whose images have the colour of their class; return the images and its batches."""
    kinds = {"z": Noise("uniform")} | ({"label": OneHot(3)} if conditional else {})
    facts = Facts(task="generate", inputs=kinds, labels=labels, options={"activation": final})
    chosen = checked_options("generate", options)
    seen = []

    def call(batch):
        seen.append(batch)
        colours = batch["label"].argmax(-1) / 2 if conditional else np.zeros(len(batch["z"]))
        return {"image": np.broadcast_to(colours[:, None, None, None], (len(colours), 4, 5, 1)).astype("float32")}

    shapes = {name: shape for name, shape in SHAPES.items() if name in kinds}
    (found,) = TASK.run(call, [TASK.read(facts, shapes, (), chosen)], facts, chosen)
    return found, seen


def test_classes_in_turn_or_one():
    found, _ = generated(count=5)
    assert found.images.shape == (5, 4, 5, 1)
    assert found.images[:, 0, 0, 0].tolist() == [0, 128, 255, 0, 128]
    assert found.classes == (0, 1, 2, 0, 1)
    assert generated(count=2, label=2)[0].classes == (2, 2)
    assert generated(count=2, label="b", labels=("a", "b", "c"))[0].classes == (1, 1)
    with pytest.raises(ValueError, match="label 3: the model has 3 classes"):
        generated(label=3)
    with pytest.raises(ValueError, match="label 1: this generator has no classes"):
        generated(conditional=False, label=1)


def test_batches_are_full_and_noise_is_what_the_model_was_trained_with():
    found, seen = generated(count=130)
    assert len(found.images) == 130
    assert [len(batch["z"]) for batch in seen] == [128, 128]
    noise = np.concatenate([batch["z"] for batch in seen])
    assert -1 <= noise.min() < -0.9
    np.testing.assert_array_equal(noise, Noise("uniform").draw((256, 8), 0))
    assert generated(noise="normal")[1][0]["z"].max() > 1
    assert not np.array_equal(generated(seed=1)[1][0]["z"], seen[0]["z"])


def test_black_is_where_the_activation_begins():
    assert generated(conditional=False)[0].images.max() == 0
    assert generated(conditional=False, final="tanh")[0].images.max() == 128


def test_the_grid_and_the_table():
    found, _ = generated(count=10, scale=3)
    assert found.rows()[1] == ("10", "4", "5", "1")
    assert found.draw().size == (3 * (15 + 2) - 2, 4 * (12 + 2) - 2)  # each column shows one class
    assert found.to_json()["classes"][:4] == [0, 1, 2, 0]
    assert generated(conditional=False)[0].to_json()["classes"] is None


def test_wrong_models_and_inputs_are_named():
    facts = Facts(task="generate", inputs={"image": Picture()})
    with pytest.raises(ValueError, match="takes noise and classes, this model takes image"):
        TASK.read(facts, {"image": (4, 4, 3)}, (), checked_options("generate", {}))
    with pytest.raises(ValueError, match="takes no inputs but its options, received 1"):
        TASK.read(facts, SHAPES, ("photo.jpg",), checked_options("generate", {}))
