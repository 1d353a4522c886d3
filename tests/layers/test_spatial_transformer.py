"""The spatial transformer as a layer: where it starts, what it learns, and how it is saved."""

import importlib

import keras
import numpy as np
import pytest
import sampling_oracles as oracle
from keras import layers, ops

from keras_segattn.layers import SpatialTransformer
from keras_segattn.layers.spatial_transformer import parameter_count, parameter_layer
from keras_segattn.ops import grid_sample
from keras_segattn.ops.portable import portable_operators
from keras_segattn.ops.transformations import TRANSFORMATIONS

# The module, imported by name because in the package `grid_sample` is the function.
sampler = importlib.import_module("keras_segattn.ops.grid_sample")
# float32: positions within 9 pixels, times differences of pixels.
TOLERANCE = 1e-5
NUMBERS = {"affine": 6, "attention": 3, "translation": 2, "rotation": 1, "projective": 8, "thin_plate_spline": 32}
SHAPE = (9, 5, 3)  # pixels at exact positions


# Nearly all tests are independent of which form of the sampler runs; compiling it for each shape would take most of
# their time.
@pytest.fixture(autouse=True)
def _portable():
    with portable_operators():
        yield


def localisation(x):
    return layers.Dense(4, activation="relu")(layers.Flatten()(x))


def pictures(shape=SHAPE, batch=2):
    return np.random.default_rng(0).normal(size=(batch, *shape)).astype("float32")


def network(shape=SHAPE, **arguments):
    image = keras.Input(shape)
    small = keras.Input(shape)
    transformer = SpatialTransformer(
        localisation=keras.Model(small, localisation(small), name="where"), name="st", **arguments
    )
    warped, theta = transformer(image)
    return keras.Model(image, {"warped": warped, "theta": theta})


@pytest.mark.parametrize("transform", TRANSFORMATIONS)
def test_every_transformation_starts_at_the_identity(transform):
    x = pictures()
    layer = SpatialTransformer(transform, localisation)
    warped, theta = layer(x)
    assert parameter_count(transform) == NUMBERS[transform]
    np.testing.assert_array_equal(theta, [TRANSFORMATIONS[transform].identity] * 2)
    np.testing.assert_allclose(warped, x, atol=0 if transform != "thin_plate_spline" else TOLERANCE)
    given = SpatialTransformer(transform)(x, theta)
    np.testing.assert_array_equal(given, warped)
    half = SpatialTransformer(transform, output_size=(5, 3))(x, theta)
    np.testing.assert_allclose(half, x[:, ::2, ::2], atol=TOLERANCE)


@pytest.mark.parametrize("transform", TRANSFORMATIONS)
def test_the_grid_is_of_the_given_parameters(transform):
    x, random = pictures(), np.random.default_rng(1)
    identity = np.array(TRANSFORMATIONS[transform].identity)
    theta = (identity + random.normal(0, 0.1, (2, len(identity)))).astype("float32")
    for options in ({}, {"padding": "border", "align_corners": False}, {"interpolation": "nearest"}):
        layer = SpatialTransformer(transform, output_size=(4, 6), **options)
        grid = TRANSFORMATIONS[transform].grid(theta, (4, 6), layer.align_corners)
        expected = grid_sample(x, grid, layer.interpolation, layer.padding, layer.align_corners)
        np.testing.assert_allclose(layer(x, theta), expected, atol=TOLERANCE)


def test_a_model_and_a_function_can_localise():
    x, image = pictures(), keras.Input(SHAPE)
    model = keras.Model(image, localisation(image))
    for network_ in (model, localisation, layers.GlobalAveragePooling2D()):
        layer = SpatialTransformer("attention", network_)
        warped, theta = layer(x)
        assert tuple(theta.shape) == (2, 3)
        assert tuple(warped.shape) == x.shape
    layer = SpatialTransformer("attention", model)
    layer(x)
    assert len(layer.trainable_weights) == 4
    layer.theta.bias.assign([0.5, 0.2, -0.3])
    np.testing.assert_allclose(layer(x)[1], [[0.5, 0.2, -0.3]] * 2)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.slow_on_jax
def test_parallel_transformers_read_the_same_picture(count):
    x = pictures()
    theta = np.random.default_rng(1).normal(0, 0.3, (2, count * 2)).astype("float32")
    found = SpatialTransformer("translation", count=count, output_size=(4, 6))(x, theta)
    assert tuple(found.shape) == (2, count, 4, 6, 3)
    for index in range(count):
        alone = SpatialTransformer("translation", output_size=(4, 6))(x, theta[:, 2 * index : 2 * index + 2])
        np.testing.assert_allclose(found[:, index], alone, atol=TOLERANCE)
    warped, numbers = SpatialTransformer("translation", localisation, count=count)(x)
    assert tuple(numbers.shape) == (2, count * 2)
    np.testing.assert_array_equal(warped, np.stack([x] * count, axis=1))


def test_symbolic_shapes_are_those_that_come_out():
    x = pictures()
    for count, size in ((None, None), (None, 4), (2, (4, 6)), (2, None)):
        model = network(transform="rotation", count=count, output_size=size)
        for name, value in model(x).items():
            assert tuple(value.shape)[1:] == model.output[name].shape[1:]


def test_open_picture_heights_need_an_output_size():
    image = keras.Input((None, None, 3))
    warped, theta = SpatialTransformer("affine", layers.GlobalAveragePooling2D(), output_size=(4, 6))(image)
    assert warped.shape == (None, 4, 6, 3)
    assert theta.shape == (None, 6)
    model = keras.Model(image, warped)
    for shape in (SHAPE, (4, 6, 3)):
        x = pictures(shape)
        assert tuple(model(x).shape) == (2, 4, 6, 3)
    np.testing.assert_allclose(model(x), x, atol=TOLERANCE)
    with pytest.raises(ValueError, match=r"inputs of open size \(None, None, None, 3\) need an output_size"):
        SpatialTransformer("affine", layers.GlobalAveragePooling2D())(image)


@pytest.mark.parametrize("transform", TRANSFORMATIONS)
@pytest.mark.slow_on_jax
def test_gradients_reach_the_localisation_network(transform):
    x = pictures()
    layer = SpatialTransformer(transform, localisation)
    layer(x)
    layer.theta.kernel.assign(np.random.default_rng(2).normal(0, 0.1, layer.theta.kernel.shape))
    _, theta = layer(x)
    theta = ops.convert_to_numpy(theta)
    upstream = np.random.default_rng(1).normal(size=x.shape)
    _, gradient = oracle.value_and_gradients(lambda t: layer.warp(x, t), upstream, theta)
    assert (np.abs(gradient) > 0).all(axis=0).mean() > 0.9  # some control points of a spline move nothing
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x)[0] * upstream)
        for weight, found in zip(layer.trainable_weights, tape.gradient(loss, layer.trainable_weights), strict=True):
            assert np.abs(found).max() > 0, weight.path


@pytest.mark.thorough
def test_a_transformer_learns_where_the_object_is():
    random = np.random.default_rng(0)
    rows = np.arange(16)
    centre = random.uniform(5, 10, (64, 2))
    blob = np.exp(-((rows[:, None] - centre[:, None, None, 1]) ** 2 + (rows - centre[:, None, None, 0]) ** 2) / 8)
    blob = blob[..., None].astype("float32")
    target = np.exp(-((rows[:, None] - 7.5) ** 2 + (rows - 7.5) ** 2) / 8)[None, ..., None].repeat(64, axis=0)
    image = keras.Input((16, 16, 1))
    warped, _ = SpatialTransformer("translation", layers.Flatten())(image)
    model = keras.Model(image, warped)
    model.compile(keras.optimizers.Adam(0.003), "mse", jit_compile=False)
    before = model.evaluate(blob, target, verbose=0)
    model.fit(blob, target, epochs=30, batch_size=64, verbose=0)
    assert model.evaluate(blob, target, verbose=0) < 0.2 * before


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compares TensorFlow's kernels with keras.ops")
@pytest.mark.thorough
def test_both_forms_train_alike(monkeypatch):
    x, trained = pictures(), {}
    target = np.random.default_rng(1).normal(size=(2, 5, 4, 3)).astype("float32")
    for form in ("portable", "compiled"):
        if form == "compiled":
            monkeypatch.setattr(sampler, "use_tensorflow_kernels", lambda: True)
        keras.utils.set_random_seed(0)
        image = keras.Input(SHAPE)
        features = layers.Conv2D(3, 1)(image)  # a gradient for the picture too
        model = keras.Model(image, SpatialTransformer("affine", localisation, (5, 4))(features)[0])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(x, target, epochs=3, verbose=0)
        trained[form] = model.get_weights()
    start = TRANSFORMATIONS["affine"].identity
    assert any(weight.shape == (6,) and np.abs(weight - start).max() > 1e-3 for weight in trained["compiled"])
    for compiled, portable in zip(trained["compiled"], trained["portable"], strict=True):
        np.testing.assert_allclose(compiled, portable, atol=TOLERANCE)


@pytest.mark.parametrize("own", [True, False])
def test_a_saved_network_comes_back(tmp_path, own):
    image = keras.Input((12, 11, 2), name="image")
    features = layers.Conv2D(3, 3, name="conv")(image)  # in the middle of a network
    small = keras.Input(features.shape[1:])
    where = keras.Model(small, localisation(small), name="where") if own else layers.GlobalAveragePooling2D()
    transformer = SpatialTransformer("projective", where, 6, 2, "bilinear", "reflection", False, name="st")
    warped, theta = transformer(features)
    model = keras.Model(image, {"scores": layers.Dense(3)(layers.Flatten()(warped)), "theta": theta})
    for index, weight in enumerate(model.weights):
        noise = np.random.default_rng(index).normal(0, 0.1, weight.shape)
        weight.assign(weight + ops.cast(noise, weight.dtype))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = pictures((12, 11, 2))
    for name, value in model(x).items():
        np.testing.assert_array_equal(again(x)[name], value)
    assert [w.path for w in again.weights] == [w.path for w in model.weights]
    configs = [layer.get_config() | {"localisation": None} for layer in (again.get_layer("st"), transformer)]
    assert configs[0] == configs[1]


def test_a_function_is_saved_as_the_model_it_made(tmp_path):
    image = keras.Input(SHAPE)
    model = keras.Model(image, SpatialTransformer("affine", localisation, name="st")(image))
    model.get_layer("st").theta.kernel.assign(np.random.default_rng(0).normal(0, 0.1, (4, 6)))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for found, expected in zip(again(pictures()), model(pictures()), strict=True):
        np.testing.assert_array_equal(found, expected)
    model.save_weights(tmp_path / "model.weights.h5")
    again.load_weights(tmp_path / "model.weights.h5")


def test_a_config_rebuilds_the_layer():
    layer = SpatialTransformer("rotation", None, (4, 6), 2, "nearest", "border", False, name="st")
    again = SpatialTransformer.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.output_size == (4, 6)
    x, theta = pictures(), np.float32([[0.3, -1], [2, 0]])
    np.testing.assert_array_equal(again(x, theta), layer(x, theta))
    model = keras.models.clone_model(network())
    assert isinstance(model.get_layer("st"), SpatialTransformer)


def test_a_start_other_than_the_identity():
    layer = parameter_layer("translation", 2, "theta", start=(-0.5, -0.5, 0.5, 0.5))
    np.testing.assert_array_equal(layer(np.ones((1, 3), "float32")), [[-0.5, -0.5, 0.5, 0.5]])


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_coordinates_in_float32(precision):
    keras.config.set_dtype_policy(precision)
    half = precision.removeprefix("mixed_")
    image = np.random.default_rng(0).uniform(size=(1, 4, 300, 1)).astype("float32")
    # A shift by half a pixel of 300, which eleven or eight bits would round to another shift.
    theta = np.float32([[1, 0, 0.5 / 149.5, 0, 1, 0]])
    layer = SpatialTransformer("affine")
    found = layer(image, theta)
    assert keras.backend.standardize_dtype(found.dtype) == half
    middle = (image[:, :, :-1] + image[:, :, 1:]) / 2
    np.testing.assert_allclose(ops.cast(found, "float32")[:, :, :-1], middle, atol=2**-6)
    warped, theta = SpatialTransformer("affine", localisation)(image)
    assert keras.backend.standardize_dtype(warped.dtype) == half
    assert keras.backend.standardize_dtype(theta.dtype) == "float32"
    symbolic = network((4, 300, 1)).output
    assert (symbolic["warped"].dtype, symbolic["theta"].dtype) == (half, "float32")


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"transform": "similarity"}, "transform must be one of 'affine', 'attention'.*received 'similarity'"),
        ({"interpolation": "cubic"}, "interpolation must be one of"),
        ({"padding": "wrap"}, "padding must be one of"),
        ({"align_corners": 2}, "align_corners must be one of True, False, received 2"),
        ({"localisation": "network"}, "localisation must be a Keras model or a function, received 'network'"),
        ({"count": 0}, "count must be a positive integer, received 0"),
        ({"output_size": 0}, "output_size must be a positive integer, received 0"),
        ({"output_size": (4, 4, 3)}, r"output_size must be \(rows, columns\), received \(4, 4, 3\)"),
        ({"output_size": (4, None)}, "output_size must be a positive integer, received None"),
        ({"output_size": 4.5}, r"output_size must be \(rows, columns\), received 4.5"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SpatialTransformer(**arguments)


@pytest.mark.one_backend
def test_bad_inputs_are_named():
    x, theta = pictures(), np.zeros((2, 6), "float32")
    with pytest.raises(ValueError, match="a localisation network or, in the call, theta: one of them"):
        SpatialTransformer("affine")(x)
    with pytest.raises(ValueError, match="a localisation network or, in the call, theta: one of them"):
        SpatialTransformer("affine", localisation)(x, theta)
    with pytest.raises(ValueError, match=r"expected theta \(batch, 3\), received \(2, 6\)"):
        SpatialTransformer("attention")(x, theta)
    with pytest.raises(ValueError, match=r"expected theta \(batch, 12\), received \(2, 6\)"):
        SpatialTransformer("affine", count=2)(x, theta)
    with pytest.raises(ValueError, match=r"expected theta \(batch, 6\), received \(2, 2, 3\)"):
        SpatialTransformer("affine")(x, theta.reshape(2, 2, 3))
    with pytest.raises(ValueError, match=r"expected inputs \(batch, height, width, channels\), received \(2, 9, 5\)"):
        SpatialTransformer("affine")(x[..., 0], theta)
