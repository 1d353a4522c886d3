"""Export to `.tflite` in four precisions: its files, its errors, and that errors leave no unfinished file."""

import json
import zipfile
from importlib.metadata import version

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from keras_segattn import facts_of, read_facts, registry
from keras_segattn.endpoints import Endpoint, Spec
from keras_segattn.export import ExportError, tflite, verify_tflite
from keras_segattn.export.mobile.calibration import MAX_SAMPLES, MIN_SAMPLES, calibration_samples
from keras_segattn.export.mobile.tflite import QUANTIZATIONS, refusal
from keras_segattn.export.runtimes import scripts
from keras_segattn.facts import Facts, FactsError
from keras_segattn.fields import Vectors
from keras_segattn.tasks import closeness

# All tests run in one worker, so that the files which many of them read are made once.
pytestmark = pytest.mark.xdist_group("tflite")

CLASSES, SIZE = 4, 32
LABELS = ("sea", "land", "lake", "ice")
# Bytes of the file ÷ bytes of the float32 weights. The graph takes some kilobytes, a tenth of this small model; biases
# stay 32 bits wide, and a zip archive with the facts follows.
MAX_RATIO = {None: 1.25, "float16": 0.75, "dynamic": 0.6, "int8": 0.6}


def small_fcn(shape=(SIZE, SIZE, 3), dtype=None) -> keras.Model:
    """Build a model with the parts of an FCN: padding, ceil pooling, a skip, transposed convolutions and crops."""
    keras.utils.clear_session(free_memory=False)  # the converter orders constants by layer names
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
def exported(tmp_path_factory, all_runtimes):
    """Return quantisation → report of one model's export, which is made when it is first asked for."""
    return Exports(tmp_path_factory.mktemp("tflite"), all_runtimes)


class Exports(dict):
    """Reports by quantisation, of files in one folder."""

    def __init__(self, folder, all_runtimes):
        super().__init__()
        self.folder, self.all_runtimes = folder, all_runtimes

    def __missing__(self, quantize):
        model = small_fcn()
        options = {"calibration": photos(), "facts": facts_of(model, labels=LABELS)}
        with self.all_runtimes():
            self[quantize] = tflite(model, self.folder / f"{quantize}.tflite", quantize=quantize, **options)
        return self[quantize]


# The precisions between float32 and int8 are tested thoroughly.
every_quantisation = pytest.mark.parametrize(
    "quantize",
    [pytest.param(q, marks=[pytest.mark.thorough] if q in ("float16", "dynamic") else []) for q in QUANTIZATIONS],
)


@every_quantisation
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
    assert report.runtimes[0].argmax_agreement >= closeness.MIN_ARGMAX_AGREEMENT
    assert report.runtimes[0].delegated_share == 1.0
    assert report.runtimes[0].fully_accelerated
    assert report.runtimes[0].latency_ms > 0
    assert report.size_ratio < MAX_RATIO[quantize]


def test_float32_equals_keras_within_rounding(exported):
    for runtime in exported[None].runtimes:
        assert runtime.max_difference <= closeness.FLOAT32_LIMIT


def test_int8_computes_in_integers_between_one_conversion_at_each_end(exported):
    operators = exported["int8"].operators
    assert (operators["QUANTIZE"], operators["DEQUANTIZE"]) == (1, 1)


def test_no_temporary_file_is_left(exported):
    assert exported[None].path.parent == exported.folder
    assert sorted(file.name for file in exported.folder.iterdir()) == sorted(f"{q}.tflite" for q in exported)


@every_quantisation
def test_facts_come_back(exported, quantize):
    facts = read_facts(exported[quantize].path)
    assert facts == Facts(
        inputs={"image": Vectors()},
        labels=LABELS,
        options={"activation": None},
        version=version("keras-segattn"),
        quantization=quantize or "float32",
    )
    with zipfile.ZipFile(exported[quantize].path) as archive:
        assert archive.namelist() == ["facts.json"]


@every_quantisation
def test_a_file_is_verified_without_its_model(exported, quantize):
    report = verify_tflite(exported[quantize].path)
    assert report.passed
    assert report.operators == exported[quantize].operators
    assert report.weight_bytes is None


def test_a_file_is_verified_against_its_model(exported):
    assert verify_tflite(exported["int8"].path, reference=small_fcn()).passed


@pytest.mark.thorough
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
    with pytest.raises(FactsError, match=r"holds no facts\.json"):
        read_facts(tmp_path / "cut.tflite")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ExportError, match=r"LiteRT cannot run .*nothing\.tflite"):
        verify_tflite(tmp_path / "nothing.tflite")


@pytest.mark.thorough
def test_a_registered_model_of_open_size_in_mixed_precision(tmp_path):
    card = registry.model_card("FCN32s")
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = card.builder(**card.tiny | {"input_shape": (None, None, 3)})
    report = tflite(model, tmp_path / "a.tflite", sizes={"image": (24, 40)})
    assert report.signatures["serving_default"]["outputs"] == {"logits": "float32[1, 24, 40, 5]"}
    assert report.runtimes[0].max_difference <= closeness.FLOAT32_LIMIT
    facts = read_facts(report.path)
    assert registry.model_card(facts.card).paper.arxiv == "1411.4038"
    assert facts.inputs["image"].channels == "BGR"


@pytest.mark.thorough
def test_signatures_share_their_weights(tmp_path):
    keras.utils.set_random_seed(0)
    x = keras.Input((64,), name="features")
    hidden = layers.Dense(512, activation="relu")(x)
    model = keras.Model(x, layers.Dense(512)(hidden))
    encoder = keras.Model(x, hidden)
    spec = {"features": Spec((None, 64), "float32")}
    endpoints = {
        "score": Endpoint(lambda inputs: {"logits": model(inputs["features"])}, spec),
        "score_double": Endpoint(lambda inputs: {"logits": 2 * model(inputs["features"])}, spec),
        "encode": Endpoint(lambda inputs: {"code": encoder(inputs["features"])}, spec),
    }
    samples = np.random.default_rng(0).normal(size=(MIN_SAMPLES, 64)).astype("float32")
    calibration = {name: {"features": samples} for name in endpoints}
    report = tflite(model, tmp_path / "three.tflite", quantize="int8", endpoints=endpoints, calibration=calibration)
    assert set(report.signatures) == set(endpoints)
    assert report.signatures["encode"]["outputs"] == {"code": "float32[1, 512]"}
    assert report.size_ratio < 0.3  # 0.25 with one copy of the int8 weights, 0.5 with two


def test_the_same_model_gives_the_same_bytes(exported, tmp_path):
    model = small_fcn()
    again = tflite(model, tmp_path / "again.tflite", calibration=photos(), facts=facts_of(model, labels=LABELS))
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
        ({"sizes": {"image": (16, 16)}}, r"sizes\['image'\] must fit the model's \(32, 32, 3\), received \(16, 16\)"),
        ({"sizes": {"image": (32, 32, 3, 1)}}, r"sizes\['image'\] must fit"),
        ({"sizes": {"image": (True, 32)}}, r"sizes\['image'\] must fit"),
        ({"sizes": {"picture": (32, 32)}}, r"sizes are of the inputs \['image'\], received some of \['picture'\]"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        tflite(small_fcn(), tmp_path / "a.tflite", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_open_sizes_must_be_given(tmp_path):
    model = small_fcn((None, None, 3))
    with pytest.raises(ValueError, match=r"input 'image' is \(None, None, 3\); give sizes=\{'image': \(…\)\}"):
        tflite(model, tmp_path / "a.tflite")
    for wrong in ((0, 32), (32, -1), (32.0, 32), (32, 32, 1)):
        with pytest.raises(ValueError, match=r"sizes\['image'\] must fit the model's \(None, None, 3\)"):
            tflite(model, tmp_path / "a.tflite", sizes={"image": wrong})
    with pytest.raises(ValueError, match=r"input 'image' is \(32, None, 3\)"):
        tflite(model, tmp_path / "a.tflite", sizes={"image": (32,)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
def test_the_converter_runs_in_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_segattn.export.mobile.tflite.run_script", scripts.run_script)
    assert tflite(dense(), tmp_path / "a.tflite").passed


SPECS = {"serving_default": {"image": Spec((1, SIZE, SIZE, 3), "float32")}}


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
    samples = calibration_samples(given, SPECS)["serving_default"]["image"]
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, images[:, None])


@settings(max_examples=20, deadline=None)
@given(cuts=st.sets(st.integers(1, 9)))
def test_calibration_is_the_same_in_batches_of_any_size(cuts):
    images = photos(10)
    batches = np.split(images, sorted(cuts))
    np.testing.assert_array_equal(
        calibration_samples(batches, SPECS)["serving_default"]["image"],
        calibration_samples(images, SPECS)["serving_default"]["image"],
    )


def test_calibration_of_an_endless_dataset_stops():
    endless = tf.data.Dataset.from_tensor_slices(photos()).repeat()
    assert len(calibration_samples(endless, SPECS)["serving_default"]["image"]) == MAX_SAMPLES


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
        calibration_samples(given, SPECS)


def test_calibration_of_tokens_stays_integer():
    inputs = {"step": {"source": Spec((1, 3), "int32"), "tokens": Spec((1,), "int32"), "z": Spec((1, 2), "float32")}}
    given = {"source": np.arange(24).reshape(8, 3), "tokens": np.arange(8), "z": np.ones((8, 1, 2))}
    samples = calibration_samples({"step": given}, inputs)["step"]
    assert {name: (array.dtype.name, array.shape) for name, array in samples.items()} == {
        "source": ("int32", (8, 1, 3)),
        "tokens": ("int32", (8, 1)),
        "z": ("float32", (8, 1, 2)),
    }
    np.testing.assert_array_equal(samples["source"][:, 0], given["source"])
    with pytest.raises(ValueError, match=r"calibration of step/source must be integers, received float64"):
        calibration_samples({"step": given | {"source": np.ones((8, 3))}}, inputs)


ONE, TWO = {"image": Spec((1, 3), "float32")}, {"image": Spec((1, 3), "float32"), "word": Spec((1, 2), "int32")}
PIXELS = np.random.default_rng(0).normal(size=(9, 1, 3)).astype("float32")
IDS = np.arange(18).reshape(9, 1, 2)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return len(PIXELS)

    def __getitem__(self, number):
        if number >= len(self):
            raise IndexError(number)
        return PIXELS[number], IDS[number]


@pytest.mark.parametrize(
    "form",
    {
        "array": lambda: PIXELS[:, 0],
        "function of lists": lambda: lambda: ([x] for x in PIXELS),
        "generator of lists": lambda: ([x] for x in PIXELS),
        "lists without batch": lambda: [[x[0]] for x in PIXELS],
        "function of dicts": lambda: lambda: ({"image": x} for x in PIXELS),
        "generator of dicts": lambda: ({"image": x} for x in PIXELS),
        "generator of tuples": lambda: ((x,) for x in PIXELS),
        "generator of pairs": lambda: ((x, 0) for x in PIXELS),
        "generator of dicts with targets": lambda: (({"image": x}, 0) for x in PIXELS),
        "generator with signatures": lambda: (("step", {"image": x}) for x in PIXELS),
        "representative dataset": lambda: tf.lite.RepresentativeDataset(lambda: ([x] for x in PIXELS)),
        "data set": lambda: tf.data.Dataset.from_tensor_slices(PIXELS),
        "data set of dicts": lambda: tf.data.Dataset.from_tensor_slices({"image": PIXELS[:, 0]}).batch(2),
        "data set of dicts with targets": lambda: tf.data.Dataset.from_tensor_slices(({"image": PIXELS}, IDS)),
        "function of a data set": lambda: lambda: tf.data.Dataset.from_tensor_slices(PIXELS),
        "mapping of inputs": lambda: {"image": PIXELS},
        "mapping of signatures": lambda: {"step": {"image": PIXELS}},
        "Keras data set": Batches,
        "list of lists of numbers": PIXELS[:, 0].tolist,
    }.values(),
)
def test_calibration_takes_every_usual_form(form):
    np.testing.assert_array_equal(calibration_samples(form(), {"step": ONE})["step"]["image"], PIXELS)


@pytest.mark.parametrize(
    "form",
    {
        "lists": lambda: ([x, i] for x, i in zip(PIXELS, IDS, strict=True)),
        "tuples": lambda: zip(PIXELS, IDS, strict=True),
        "dicts": lambda: ({"word": i, "image": x} for x, i in zip(PIXELS, IDS, strict=True)),
        "dicts with targets": lambda: (({"word": i, "image": x}, 1) for x, i in zip(PIXELS, IDS, strict=True)),
        "data set": lambda: tf.data.Dataset.from_tensor_slices({"word": IDS[:, 0], "image": PIXELS[:, 0]}).batch(4),
        "mapping": lambda: {"word": IDS, "image": PIXELS},
    }.values(),
)
def test_calibration_of_several_inputs_takes_every_usual_form(form):
    found = calibration_samples(form(), {"step": TWO})["step"]
    np.testing.assert_array_equal(found["image"], PIXELS)
    np.testing.assert_array_equal(found["word"], IDS)


def test_calibration_of_several_signatures_names_them():
    items = [item for x, i in zip(PIXELS, IDS, strict=True) for item in (("a", [x]), ("b", {"word": i, "image": x}))]
    found = calibration_samples(lambda: iter(items), {"a": ONE, "b": TWO})
    np.testing.assert_array_equal(found["a"]["image"], found["b"]["image"])
    with pytest.raises(ValueError, match="signature → input name → samples for a/image, b/image, b/word"):
        calibration_samples([{"image": x} for x in PIXELS], {"a": ONE, "b": TWO})


@pytest.mark.parametrize("wrong", [3, "photos", None, [{"picture": PIXELS[0]}], {"picture": PIXELS}])
def test_other_forms_of_calibration_are_refused(wrong):
    with pytest.raises(ValueError, match=r"calibration must (be|have)"):
        calibration_samples(wrong, {"step": ONE})


SHADES = np.broadcast_to(np.arange(16, dtype="float32")[:, None, None, None], (16, SIZE, SIZE, 3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((16, SIZE, SIZE, 3), "float32"), "one sample 16 times"),
        (np.repeat(photos(1), 16, axis=0), "one sample 16 times"),
        (SHADES, "blank pictures"),
    ],
    ids=["black", "one picture", "shades"],
)
def test_degenerate_calibration_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        calibration_samples(given, SPECS)


def test_int8_is_verified_on_other_inputs_than_those_that_calibrated_it(tmp_path):
    with pytest.raises(ExportError, match=r"reach on other inputs: measured .* expected >= 0\.1"):
        tflite(small_fcn(), tmp_path / "a.tflite", quantize="int8", calibration=photos(16) * np.float32(1e-4))
    assert list(tmp_path.iterdir()) == []


def test_several_inputs_need_calibration_by_name():
    with pytest.raises(ValueError, match=r"signature → input name → samples for step/a, step/b; received ndarray"):
        calibration_samples(photos(), {"step": {"a": Spec((1, 2), "float32"), "b": Spec((1, 3), "float32")}})


def outputs(values) -> dict[str, closeness.Arrays]:
    """Return one sample of one output, classes last, in the form that `compare` takes."""
    return {"serving_default": {"logits": np.asarray(values, "float32")[None, None]}}


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_nan_fails_the_comparison(precision):
    found = closeness.compare(outputs([[1.0, np.nan]]), outputs([[1.0, 2.0]]), precision)
    assert not closeness.closeness_checks(found, "to Keras", precision)[0].passed


def test_near_ties_are_counted_but_do_not_decide():
    right = outputs([[0.0, 1.0], [0.5, 0.501], [1.0, 0.0]])
    found = closeness.compare(outputs([[0.0, 1.0], [0.501, 0.5], [1.0, 0.0]]), right, "int8")
    assert found.agreement == pytest.approx(2 / 3)
    assert found.decided == 1.0
    wrong = closeness.compare(outputs([[1.0, 0.0], [0.5, 0.501], [1.0, 0.0]]), right, "int8")
    assert wrong.decided == 0.5
    assert not closeness.closeness_checks(wrong, "to Keras", "int8")[1].passed


def test_outputs_without_any_difference_have_no_decided_position():
    zeros = outputs(np.zeros((3, 2)))
    assert closeness.compare(zeros, zeros, "int8") == closeness.Comparison(0.0, 0.0, 1.0, None)


def test_the_report_is_json(exported):
    facts = json.loads(exported["int8"].to_json())
    assert facts["passed"] is True
    assert facts["operators"]["TRANSPOSE_CONV"] == 2
