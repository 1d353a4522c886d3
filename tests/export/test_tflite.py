"""One `.tflite` under four quantisations, what it refuses, and what it leaves behind: nothing half-written."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from keras_segattn import registry
from keras_segattn.export import litert
from keras_segattn.export.archive import Endpoint
from keras_segattn.export.calibration import MAX_SAMPLES, MIN_SAMPLES, calibration_samples
from keras_segattn.export.report import ExportError
from keras_segattn.export.tflite import QUANTIZATIONS, read_metadata, refusal, tflite, verify_tflite

# One worker makes the files that many of these tests read.
pytestmark = pytest.mark.xdist_group("tflite")

CLASSES, SIZE = 4, 32
LABELS = ("sea", "land", "lake", "ice")
# Bytes of the file ÷ bytes of the float32 weights. The graph itself costs some kilobytes, a tenth of this model; biases
# stay 32 bits wide, and a zip of metadata follows.
MAX_RATIO = {None: 1.25, "float16": 0.75, "dynamic": 0.6, "int8": 0.6}


def small_fcn(shape=(SIZE, SIZE, 3), dtype=None) -> keras.Model:
    """The parts of an FCN: padding, ceil pooling, a skip, transposed convolutions and crops."""
    keras.utils.clear_session(free_memory=False)  # the converter orders constants by the layers' names
    keras.utils.set_random_seed(0)
    image = keras.Input(shape, name="image")
    x = layers.ZeroPadding2D(4, dtype=dtype)(image)
    x = layers.Conv2D(16, 3, 2, padding="same", activation="relu", dtype=dtype)(x)
    skip = layers.MaxPooling2D(2, padding="same", dtype=dtype)(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", dtype=dtype)(skip)
    x = layers.MaxPooling2D(2, padding="same", dtype=dtype)(x)
    x = layers.Conv2D(CLASSES, 1, dtype=dtype)(x)
    x = layers.Conv2DTranspose(CLASSES, 2, 2, use_bias=False, dtype=dtype)(x)
    x = layers.Add(dtype=dtype)([x, layers.Conv2D(CLASSES, 1, dtype=dtype)(skip)])
    x = layers.Conv2DTranspose(CLASSES, 8, 4, use_bias=False, dtype=dtype)(x)
    x = layers.Cropping2D(6, dtype=dtype)(x)
    return keras.Model(image, x, name="small_fcn")


def dense(units=5, activation=None) -> keras.Model:
    keras.utils.set_random_seed(0)
    x = keras.Input((6,), name="features")
    return keras.Model(x, layers.Dense(units, activation=activation)(x), name="dense")


def photos(count=MIN_SAMPLES) -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=(count, SIZE // 4, SIZE // 4, 3))
    return noise.repeat(4, axis=1).repeat(4, axis=2).astype("float32")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Quantisation → report on the file, all of one model."""
    folder = tmp_path_factory.mktemp("tflite")
    model = small_fcn()
    return {
        quantize: tflite(model, folder / f"{quantize}.tflite", quantize=quantize, calibration=photos(), labels=LABELS)
        for quantize in QUANTIZATIONS
    }


@pytest.mark.parametrize("quantize", QUANTIZATIONS)
def test_every_quantisation_passes_its_checks_in_litert(exported, quantize):
    report = exported[quantize]
    assert report.passed
    assert report.path.stat().st_size == report.size_bytes
    assert report.flex_operators == ()
    assert report.operators["TRANSPOSE_CONV"] == 2
    assert report.signatures == {
        "serving_default": {
            "inputs": {"image": f"float32[1, {SIZE}, {SIZE}, 3]"},
            "outputs": {"logits": f"float32[1, {SIZE}, {SIZE}, {CLASSES}]"},
        }
    }
    assert report.runtimes[0].argmax_agreement >= litert.MIN_ARGMAX_AGREEMENT
    assert report.runtimes[0].delegated_share == 1.0
    assert report.runtimes[0].fully_accelerated
    assert report.runtimes[0].latency_ms > 0
    assert report.size_ratio < MAX_RATIO[quantize]


def test_float32_equals_keras_within_rounding(exported):
    for runtime in exported[None].runtimes:
        assert runtime.max_difference <= litert.FLOAT32_LIMIT


def test_int8_computes_in_integers_between_one_conversion_at_each_end(exported):
    operators = exported["int8"].operators
    assert (operators["QUANTIZE"], operators["DEQUANTIZE"]) == (1, 1)


def test_no_temporary_file_is_left(exported):
    folder = exported[None].path.parent
    assert sorted(file.name for file in folder.iterdir()) == sorted(f"{q}.tflite" for q in QUANTIZATIONS)


@pytest.mark.parametrize("quantize", QUANTIZATIONS)
def test_metadata_comes_back(exported, quantize):
    metadata = read_metadata(exported[quantize].path)
    assert metadata["name"] == "small_fcn"
    assert metadata["labels"] == list(LABELS)
    assert metadata["quantization"] == (quantize or "float32")
    assert metadata["inputs"] == {"serving_default": {"image": [1, SIZE, SIZE, 3]}}
    assert metadata["versions"]["keras"] == keras.__version__


@pytest.mark.parametrize("quantize", QUANTIZATIONS)
def test_a_file_is_verified_without_its_model(exported, quantize):
    report = verify_tflite(exported[quantize].path)
    assert report.passed
    assert report.operators == exported[quantize].operators
    assert report.weight_bytes is None


def test_a_file_is_verified_against_its_model(exported):
    assert verify_tflite(exported["float16"].path, reference=small_fcn()).passed


def test_another_model_fails_verification(exported):
    other = small_fcn()
    other.set_weights([weight + 1 for weight in other.get_weights()])
    report = verify_tflite(exported[None].path, reference=other)
    assert not report.passed
    with pytest.raises(ExportError, match="difference to Keras"):
        report.raise_if_failed()


def test_a_reference_with_other_inputs_is_refused(exported):
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    with pytest.raises(ValueError, match=r"file's inputs are \['image'\], the model's are \['a', 'b'\]"):
        verify_tflite(exported[None].path, reference=keras.Model([a, b], layers.Add()([a, b])))


@pytest.mark.parametrize("length", [0, 3, 100, -500])
def test_a_truncated_file_is_refused(exported, tmp_path, length):
    flatbuffer = exported[None].path.read_bytes()
    flatbuffer = flatbuffer[: flatbuffer.index(b"PK\x03\x04")]
    (tmp_path / "cut.tflite").write_bytes(flatbuffer[:length])
    with pytest.raises(ExportError, match=r"LiteRT cannot run .*cut\.tflite"):
        verify_tflite(tmp_path / "cut.tflite")
    with pytest.raises(ExportError, match=r"holds no metadata\.json"):
        read_metadata(tmp_path / "cut.tflite")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ExportError, match=r"LiteRT cannot run .*nothing\.tflite"):
        verify_tflite(tmp_path / "nothing.tflite")


def test_a_registered_model_of_open_size_in_mixed_precision(tmp_path):
    card = registry.model_card("FCN32s")
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = card.builder(**card.tiny | {"input_shape": (None, None, 3)})
    report = tflite(model, tmp_path / "a.tflite", input_shape=(24, 40, 3))
    assert report.signatures["serving_default"]["outputs"] == {"logits": "float32[1, 24, 40, 5]"}
    assert report.runtimes[0].max_difference <= litert.FLOAT32_LIMIT
    metadata = read_metadata(report.path)
    assert metadata["architecture"] == "FCN32s"
    assert metadata["paper"]["arxiv"] == "1411.4038"
    assert metadata["preprocessing"]["channels"] == "BGR"


def test_signatures_share_their_weights(tmp_path):
    keras.utils.set_random_seed(0)
    x = keras.Input((64,), name="features")
    hidden = layers.Dense(512, activation="relu")(x)
    model = keras.Model(x, layers.Dense(512)(hidden))
    encoder = keras.Model(x, hidden)
    spec = {"features": tf.TensorSpec((1, 64), tf.float32, name="features")}
    endpoints = {
        "score": Endpoint(lambda inputs: {"logits": model(inputs["features"])}, spec),
        "score_double": Endpoint(lambda inputs: {"logits": 2 * model(inputs["features"])}, spec),
        "encode": Endpoint(lambda inputs: {"code": encoder(inputs["features"])}, spec),
    }
    samples = np.random.default_rng(0).normal(size=(MIN_SAMPLES, 64)).astype("float32")
    calibration = {name: {"features": samples} for name in endpoints}
    report = tflite(model, tmp_path / "three.tflite", quantize="int8", signatures=endpoints, calibration=calibration)
    assert set(report.signatures) == set(endpoints)
    assert report.signatures["encode"]["outputs"] == {"code": "float32[1, 512]"}
    assert report.size_ratio < 0.3  # one copy of int8 weights is 0.25, a second would make 0.5


def test_the_same_model_gives_the_same_bytes(exported, tmp_path):
    again = tflite(small_fcn(), tmp_path / "again.tflite", calibration=photos(), labels=LABELS)
    assert again.path.read_bytes() == exported[None].path.read_bytes()


def test_an_operator_that_phones_lack_is_named_and_an_earlier_file_kept(tmp_path):
    (tmp_path / "a.tflite").write_bytes(b"an earlier model")
    x = keras.Input((6,), name="features")
    with pytest.raises(ExportError, match="no builtin operator for Erf"):
        tflite(keras.Model(x, keras.ops.erf(x)), tmp_path / "a.tflite")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"an earlier model"]


def test_operators_are_read_from_the_converters_message():
    message = "error: failed\nTF Select ops: Erf, BitwiseAnd\nDetails:\n\ttf.Erf(...)\nCustom ops: Mine\n"
    assert refusal(message).startswith("TFLite has no builtin operator for BitwiseAnd, Erf, Mine;")
    assert refusal("out of memory") is None


def test_weights_that_are_not_numbers_are_refused(tmp_path):
    model = small_fcn()
    kernel = model.layers[2].kernel
    kernel.assign(kernel.value * np.nan)
    with pytest.raises(ExportError, match=r"NaN or infinity in conv2d.*/kernel"):
        tflite(model, tmp_path / "nan.tflite")
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_are_not_numbers_are_refused(tmp_path):
    x = keras.Input((6,), name="features")
    with pytest.raises(ExportError, match="finite outputs: measured NaN or infinity in serving_default/logits"):
        tflite(keras.Model(x, keras.ops.log(-keras.ops.square(x) - 1.0)), tmp_path / "new" / "nan.tflite")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_refused_before_the_conversion(tmp_path):
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "file" / "a.tflite", tmp_path):
        with pytest.raises(ExportError, match="cannot write"):
            tflite(dense(), path)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quantize": "int4"}, "quantize must be one of None, 'float16', 'dynamic', 'int8', received 'int4'"),
        ({"quantize": "int8"}, "needs calibration images, received None"),
        ({"labels": ["land", "sea"]}, r"labels must name the \[4\] classes"),
        ({"labels": "land"}, r"labels must name the \[4\] classes"),
        ({"labels": [1, 2, 3, 4]}, "a line of text each"),
        ({"labels": ["a\nb", "c", "d", "e"]}, "a line of text each"),
        ({"input_shape": (16, 16, 3)}, r"input_shape must fit the model's \(32, 32, 3\), received \(16, 16, 3\)"),
        ({"input_shape": (32, 32)}, r"input_shape must fit"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        tflite(small_fcn(), tmp_path / "a.tflite", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_open_sizes_need_an_input_shape(tmp_path):
    with pytest.raises(ValueError, match=r"input 'image' of 'small_fcn' is \(None, None, 3\); give input_shape"):
        tflite(small_fcn((None, None, 3)), tmp_path / "a.tflite")
    with pytest.raises(ValueError, match=r"input_shape must fit the model's \(None, None, 3\)"):
        tflite(small_fcn((None, None, 3)), tmp_path / "a.tflite", input_shape=(32, 32, 1))


SHAPES = {"serving_default": {"image": (1, SIZE, SIZE, 3)}}


@pytest.mark.parametrize("data", ["array", "images", "batches", "dataset", "pairs"])
def test_calibration_takes_arrays_iterables_and_datasets(data):
    images = photos(10)
    masks = np.zeros((10, SIZE, SIZE), "int32")
    given = {
        "array": images,
        "images": (image for image in images),
        "batches": [images[:4], images[4:]],
        "dataset": tf.data.Dataset.from_tensor_slices(images),
        "pairs": tf.data.Dataset.from_tensor_slices((images, masks)).batch(4),
    }[data]
    samples = calibration_samples(given, SHAPES)["serving_default"]["image"]
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, images[:, None])


@settings(max_examples=20, deadline=None)
@given(cuts=st.sets(st.integers(1, 9)))
def test_calibration_is_the_same_in_batches_of_any_size(cuts):
    images = photos(10)
    batches = np.split(images, sorted(cuts))
    np.testing.assert_array_equal(
        calibration_samples(batches, SHAPES)["serving_default"]["image"],
        calibration_samples(images, SHAPES)["serving_default"]["image"],
    )


def test_calibration_of_an_endless_dataset_stops():
    endless = tf.data.Dataset.from_tensor_slices(photos()).repeat()
    assert len(calibration_samples(endless, SHAPES)["serving_default"]["image"]) == MAX_SAMPLES


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (photos()[:, :16], r"samples of shape \(32, 32, 3\), or batches of them, received \(16, 32, 3\)"),
        (photos().astype("uint8"), "must be floating.*received uint8; apply the model's preprocess_input"),
        (photos(MIN_SAMPLES - 1), f"at least {MIN_SAMPLES} samples, received {MIN_SAMPLES - 1}"),
        (photos() * np.inf, "NaN or infinity"),
        ({"other": {}}, "calibration must have the inputs"),
    ],
)
def test_wrong_calibration_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        calibration_samples(given, SHAPES)


def test_several_inputs_need_calibration_by_name():
    with pytest.raises(ValueError, match=r"signature → input name → samples for step/a, step/b; received ndarray"):
        calibration_samples(photos(), {"step": {"a": (1, 2), "b": (1, 3)}})


def outputs(values) -> dict[str, litert.Arrays]:
    """One sample of one output with classes last, as `compare` takes them."""
    return {"serving_default": {"logits": np.asarray(values, "float32")[None, None]}}


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_nan_fails_the_comparison(precision):
    found = litert.compare(outputs([[1.0, np.nan]]), outputs([[1.0, 2.0]]), precision)
    assert not litert.closeness_checks(found, "to Keras", precision)[0].passed


def test_near_ties_are_counted_but_do_not_decide():
    right = outputs([[0.0, 1.0], [0.5, 0.501], [1.0, 0.0]])
    found = litert.compare(outputs([[0.0, 1.0], [0.501, 0.5], [1.0, 0.0]]), right, "int8")
    assert found.agreement == pytest.approx(2 / 3)
    assert found.decided == 1.0
    wrong = litert.compare(outputs([[1.0, 0.0], [0.5, 0.501], [1.0, 0.0]]), right, "int8")
    assert wrong.decided == 0.5
    assert not litert.closeness_checks(wrong, "to Keras", "int8")[1].passed


def test_outputs_without_any_difference_have_no_decided_position():
    zeros = outputs(np.zeros((3, 2)))
    assert litert.compare(zeros, zeros, "int8") == litert.Comparison(0.0, 0.0, 1.0, None)


def test_the_report_is_json(exported):
    facts = json.loads(exported["int8"].to_json())
    assert facts["passed"] is True
    assert facts["operators"]["TRANSPOSE_CONV"] == 2
