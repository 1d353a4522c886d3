"""Checkpoints as TF-slim and facenet publish them, written by TensorFlow under slim's names."""

from functools import cache

import numpy as np
import pytest
from harness import images, randomise

import keras_segattn as ks
from keras_segattn import weights
from keras_segattn.registry import model_card

# Rounding of products with one factor folded into another.
FLOAT32_TOLERANCE = 1e-5
TINY = {"alpha": 0.0625, "input_shape": (75, 75, 3)}
MODELS = {
    "inception_v4": (ks.InceptionV4, {"blocks": (1, 1, 1)}),
    "inception_resnet_v2": (ks.InceptionResNetV2, {"blocks": (1, 1, 2)}),
    "facenet": (ks.InceptionResNetV1, {"blocks": (1, 1, 1), "sixth_block": True}),
}
LEAVES = {"kernel": "weights", "bias": "biases"}


def slim_names(model, card):
    """Our variable's path → its name in a checkpoint."""
    names = {}
    for layer in model.layers:
        for variable in layer.weights:
            if variable.name == "seed_generator_state":
                continue
            scope = next(name for name in card.weight_names[layer.name] if name[0].isupper())
            names[variable.path] = f"{scope}/{LEAVES.get(variable.name, variable.name)}"
    return names


def write(path, tensors, version):
    """Write a checkpoint of the old format (one file) or of the new one (index and data)."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [tf.compat.v1.Variable(array, name=name) for name, array in tensors.items()]
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(variables, write_version=version)
        saver.save(session, str(path), write_meta_graph=False, write_state=False)
    return path


def built(name, **options):
    builder, settings = MODELS[name]
    return builder(**{"classes": 1000, **TINY, **settings, **options})


@cache
def trained(name, **options):
    """A model with random weights, and its tensors under slim's names, which no test may change."""
    model = built(name, **options)
    randomise(model)
    names = slim_names(model, model_card(MODELS[name][0].__name__))
    return model, {names[v.path]: v.numpy() for v in model.weights if v.path in names}


target = cache(built)


def other(name, **options):
    """A model with other random weights, into which a test loads; the next test draws them anew."""
    model = target(name, **options)
    randomise(model, seed=1)
    return model


def with_background(tensors):
    """The 1001 classes of slim: the first is the background."""
    noise = np.random.default_rng(0)

    def widened(array):
        background = noise.normal(size=(*array.shape[:-1], 1)).astype("float32")
        return np.concatenate([background, array], axis=-1)

    return {name: widened(array) if "ogits/" in name else array for name, array in tensors.items()}


# Some of the names in TF-slim's released checkpoints: scopes are numbered and lettered by no single rule there.
RELEASED = {
    "InceptionV4": [
        "Conv2d_1a_3x3",
        "Mixed_3a/Branch_1/Conv2d_0a_3x3",
        "Mixed_4a/Branch_1/Conv2d_0c_7x1",
        "Mixed_4a/Branch_1/Conv2d_1a_3x3",
        "Mixed_5a/Branch_0/Conv2d_1a_3x3",
        "Mixed_5b/Branch_3/Conv2d_0b_1x1",
        "Mixed_6b/Branch_2/Conv2d_0e_1x7",
        "Mixed_7b/Branch_1/Conv2d_0c_3x1",
        "Mixed_7b/Branch_2/Conv2d_0e_3x1",
        "AuxLogits/Conv2d_1b_1x1",
        "AuxLogits/Conv2d_2a",
        "AuxLogits/Aux_logits",
        "Logits/Logits",
    ],
    "InceptionResnetV2": [
        "Conv2d_3b_1x1",
        "Mixed_5b/Branch_0/Conv2d_1x1",
        "Mixed_5b/Branch_1/Conv2d_0b_5x5",
        "Repeat/block35_1/Branch_0/Conv2d_1x1",
        "Repeat/block35_10/Conv2d_1x1",
        "Mixed_6a/Branch_0/Conv2d_1a_3x3",
        "Repeat_1/block17_20/Branch_1/Conv2d_0c_7x1",
        "Mixed_7a/Branch_2/Conv2d_1a_3x3",
        "Repeat_2/block8_9/Branch_1/Conv2d_0b_1x3",
        "Block8/Conv2d_1x1",
        "Conv2d_7b_1x1",
        "AuxLogits/Conv2d_2a_5x5",
        "AuxLogits/Logits",
        "Logits/Logits",
    ],
}


@pytest.mark.parametrize("scope", RELEASED)
def test_released_names_are_known(scope):
    known = {name for names in model_card(scope).weight_names.values() for name in names}
    assert {f"{scope}/{name}" for name in RELEASED[scope]} <= known


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("inception_v4", 1),
        ("inception_resnet_v2", 2),
        pytest.param("facenet", 2, marks=pytest.mark.thorough),
        pytest.param("inception_v4", 2, marks=pytest.mark.thorough),
        pytest.param("inception_resnet_v2", 1, marks=pytest.mark.thorough),
        pytest.param("facenet", 1, marks=pytest.mark.thorough),
    ],
)
def test_background_class_is_dropped_and_all_else_loaded(name, version, tmp_path):
    source, tensors = trained(name)
    path = write(tmp_path / f"{name}.ckpt", with_background(tensors) | {"global_step": np.int64(7)}, version)
    model = other(name)
    report = weights.load(model, path if version == 1 else f"{path}.index")
    assert report.complete
    assert "global_step" in " ".join(report.ignored)
    for ours, theirs in zip(model.weights, source.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.thorough
def test_all_1001_classes_if_the_model_has_them(tmp_path):
    _, tensors = trained("inception_v4")
    tensors = with_background(tensors)
    path = write(tmp_path / "model.ckpt", tensors, 2)
    model = built("inception_v4", classes=1001)
    assert weights.load(model, path).complete
    np.testing.assert_array_equal(model.get_layer("predictions").bias, tensors["InceptionV4/Logits/Logits/biases"])


@pytest.mark.thorough
def test_one_class_more_is_no_background_elsewhere(tmp_path):
    _, tensors = trained("facenet")
    ten = {name: array[..., :10] if "ogits/" in name else array for name, array in tensors.items()}
    path = write(tmp_path / "facenet.ckpt", ten, 2)
    with pytest.raises(weights.WeightsError, match="shape mismatch"):
        weights.load(built("facenet", classes=9), path)


def test_side_head_is_loaded_where_the_model_has_it_and_else_ignored(tmp_path):
    source, tensors = trained("inception_v4", aux_logits=True)
    path = write(tmp_path / "model.ckpt", tensors, 2)
    with_head = other("inception_v4", aux_logits=True)
    assert weights.load(with_head, path).complete
    x = images((75, 75, 3))
    np.testing.assert_array_equal(with_head(x)["aux_logits"], source(x)["aux_logits"])
    without = other("inception_v4")
    report = weights.load(without, path)
    assert report.complete
    assert sum("AuxLogits" in ignored for ignored in report.ignored) == 10


def test_moving_averages_are_the_values(tmp_path):
    source, tensors = trained("facenet")
    averaged = {f"{name}/ExponentialMovingAverage": array for name, array in tensors.items() if "moving" not in name}
    raw = {name: array if "moving" in name else np.zeros_like(array) for name, array in tensors.items()}
    state = {f"{name}/Adam": np.ones_like(array) for name, array in raw.items()}
    path = write(tmp_path / "model.ckpt", raw | averaged | state | {"beta1_power": np.float32(0)}, 2)
    model = other("facenet")
    report = weights.load(model, path)
    assert report.complete
    assert len(report.ignored) == len(averaged) + len(state) + 1
    for ours, theirs in zip(model.weights, source.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.thorough
def test_a_scale_that_the_model_has_not_is_folded(tmp_path):
    _, tensors = trained("inception_v4")
    gamma = {}
    for index, name in enumerate(sorted(name for name in tensors if name.endswith("/beta"))):
        generator = np.random.default_rng(index)
        gamma[name.replace("/beta", "/gamma")] = generator.uniform(0.5, 2, tensors[name].shape).astype("float32")
    path = write(tmp_path / "model.ckpt", tensors | gamma, 2)
    model = other("inception_v4")
    assert weights.load(model, path).complete
    source = built("inception_v4")
    randomise(source)
    # The source computes the same: the input of every normalisation, less its mean, times the scale.
    names = slim_names(source, model_card("InceptionV4"))
    for layer in source.layers:
        if layer.name.endswith("_bn"):
            scale = gamma[names[layer.beta.path].replace("/beta", "/gamma")]
            before = layer.input._keras_history.operation
            before.kernel.assign(before.kernel * scale)
            layer.moving_mean.assign(layer.moving_mean * scale)
    x = images((75, 75, 3))
    assert np.abs(model(x) - source(x)).max() <= FLOAT32_TOLERANCE * np.abs(source(x)).max()


def test_object_checkpoint_is_refused(tmp_path):
    import tensorflow as tf

    model = other("inception_v4")
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "objects.ckpt"))
    with pytest.raises(weights.WeightsError, match=r"variables by name, found one of objects: use model\.load_weights"):
        weights.load(model, path)


@pytest.mark.parametrize("version", [1, 2])
def test_damaged_checkpoint_changes_nothing(version, tmp_path):
    _, tensors = trained("inception_v4")
    path = write(tmp_path / "model.ckpt", tensors, version)
    model = other("inception_v4")
    before = model.get_weights()
    data = path if version == 1 else next(tmp_path.glob("*.data*"))
    content = data.read_bytes()
    data.write_bytes(content[: len(content) // 2])
    with pytest.raises(weights.WeightsError, match=r"model\.ckpt"):
        weights.load(model, path)
    data.unlink()
    with pytest.raises((weights.WeightsError, FileNotFoundError), match=r"model\.ckpt"):
        weights.load(model, path)
    assert all((old == new).all() for old, new in zip(before, model.get_weights(), strict=True))
