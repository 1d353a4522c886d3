"""SavedModels for TensorFlow Serving, as its C++ loader runs them."""

import dataclasses
import io
import shutil
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import pytest
from harness import randomise
from keras import ops
from PIL import Image

from keras_segattn import FCN8s, Picture, export, facts_of, preprocessing_of, read_facts
from keras_segattn.endpoints import Endpoint, Spec
from keras_segattn.export.runtimes.libtensorflow import Call, run_saved_model
from keras_segattn.export.serving.config import MAX_BATCH_SIZE, VERSION_BATCHING_FILE
from keras_segattn.export.serving.pictures import FILES_TAKEN
from keras_segattn.export.serving.saved_model import publish
from keras_segattn.export.serving.verification import half_written
from keras_segattn.export.serving.warmup import read_warmup

# All tests run in one worker, so that the files which many of them read are made once.
pytestmark = pytest.mark.xdist_group("saved_model")

LABELS = ["sea", "land", "lake"]
# float32 sums in another order.
TOLERANCE = 1e-5


def network(input_shape=(None, None, 3), **arguments):
    model = FCN8s(backbone="squeezenet1_1", classes=3, alpha=0.125, input_shape=input_shape, **arguments)
    randomise(model)
    return model


def pictures(batch, height, width):
    return np.random.default_rng(batch).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)


def file_bytes(image, form):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form)
    return buffer.getvalue()


def keras_logits(model, images):
    return ops.convert_to_numpy(model(preprocessing_of(model)(images)))


def assert_close(ours, reference):
    assert np.abs(ours - reference).max() <= TOLERANCE * max(1, np.abs(reference).max())


@pytest.fixture(scope="module")
def exported(tmp_path_factory, all_runtimes):
    keras.utils.set_random_seed(0)
    model = network()
    base = tmp_path_factory.mktemp("models")
    with all_runtimes():
        return model, base, export.saved_model(model, base, facts=facts_of(model, labels=LABELS))


OWN = Picture("RGB", mean=(127.0,) * 3, std=(128.0,) * 3)
WARM = pictures(4, 32, 32)


@pytest.fixture(scope="module")
def fixed():
    """Build a model of fixed size that no test changes."""
    keras.utils.set_random_seed(0)
    return network(input_shape=(32, 32, 3))


@pytest.fixture(scope="module")
def versions(fixed, tmp_path_factory):
    """Export two versions of a model of fixed size: one takes floats, one pixels that it normalises as `OWN` says."""
    model = fixed
    base = tmp_path_factory.mktemp("versions")
    outside = export.saved_model(model, base, version=3, preprocess=False)
    facts = facts_of(model, inputs={"image": OWN})
    return model, base, outside, export.saved_model(model, base, facts=facts, warmup={"image": WARM})


def answers(report, *calls):
    return run_saved_model(report.path, [Call(*call) for call in calls])[1]


def test_layout(exported):
    _, base, report = exported
    assert report.path == base / "fcn8s" / "1"
    files = {str(path.relative_to(report.path)) for path in report.path.rglob("*") if path.is_file()}
    assert {"saved_model.pb", "assets.extra/tf_serving_warmup_requests", "assets.extra/facts.json"} <= files
    assert 'name: "fcn8s"' in (base / "models.config").read_text()
    assert "num_batch_threads" in (base / "batching_parameters.txt").read_text()
    assert not (report.path / VERSION_BATCHING_FILE).exists()  # pictures of any size cannot share a batch


def test_facts(exported):
    model, _, report = exported
    facts = read_facts(report.path)
    assert facts == dataclasses.replace(facts_of(model, labels=LABELS), files=FILES_TAKEN)
    assert (facts.card, facts.task, facts.labels, facts.quantization) == ("FCN8s", "segment", tuple(LABELS), None)
    assert facts.inputs == {"image": preprocessing_of(model)}
    assert facts.version == version("keras-segattn")


def test_report(exported):
    _, _, report = exported
    assert report.passed
    assert report.flex_operators == ()
    assert set(report.signatures) == {"serving_default", "encoded"}
    assert any(result.runtime.startswith("libtensorflow") for result in report.runtimes)
    assert any(result.runtime.startswith("OpenVINO") for result in report.runtimes)
    assert "passed" in report.to_json()


@pytest.mark.parametrize(("batch", "size"), [(1, (48, 64)), (3, (48, 64)), (2, (33, 50)), (1, (1, 1))])
def test_any_batch_and_size_in_the_c_api(exported, batch, size):
    model, _, report = exported
    images = pictures(batch, *size)
    (answer,) = answers(report, ("serving_default", {"image": images}))
    assert_close(answer.outputs["logits"], keras_logits(model, images))


def test_files_of_pictures_in_the_c_api(exported):
    model, _, report = exported
    images = pictures(2, 40, 56)
    decoded = [np.asarray(Image.open(io.BytesIO(file_bytes(images[0], "JPEG")))), images[1]]
    files = np.array([file_bytes(images[0], "JPEG"), file_bytes(images[1], "PNG")], dtype=object)
    (answer,) = answers(report, ("encoded", {"image_bytes": files}))
    reference = keras_logits(model, np.stack(decoded)).argmax(-1)
    assert answer.outputs["mask"].dtype == np.uint8
    np.testing.assert_array_equal(answer.outputs["mask"], reference)


def test_bytes_that_are_no_picture_are_an_error_of_the_request(exported):
    _, _, report = exported
    with pytest.raises(export.ExportError, match=r"(?i)unknown image file format"):
        answers(report, ("encoded", {"image_bytes": np.array([b"no picture"], dtype=object)}))


@pytest.mark.thorough
def test_a_fixed_size_resizes_files_and_refuses_other_arrays(tmp_path):
    model = network()
    report = export.saved_model(model, tmp_path, sizes={"image": (32, 40)})
    assert report.signatures["serving_default"]["inputs"] == {"image": "uint8[?, 32, 40, 3]"}
    files = np.array([file_bytes(pictures(1, 99, 20)[0], "PNG"), file_bytes(pictures(1, 7, 8)[0], "PNG")], dtype=object)
    (answer,) = answers(report, ("encoded", {"image_bytes": files}))
    assert answer.outputs["mask"].shape == (2, 32, 40)
    with pytest.raises(export.ExportError, match="serving_default"):
        answers(report, ("serving_default", {"image": pictures(1, 48, 40)}))


@pytest.mark.thorough
def test_verify_by_someone_else_and_with_a_reference(exported):
    model, base, report = exported
    again = export.verify_saved_model(base / "fcn8s", reference=model)
    assert again.passed
    assert again.path == report.path
    wrong = network()
    randomise(wrong, seed=1)
    assert not export.verify_saved_model(report.path, reference=wrong).passed


def test_versions_count_up_and_are_never_overwritten(versions):
    model, base, *reports = versions
    assert [report.path.name for report in reports] == ["3", "4"]
    with pytest.raises(export.ExportError, match="exists"):
        export.saved_model(model, base, version=3)
    assert sorted(path.name for path in (base / "fcn8s").iterdir()) == ["3", "4"]


def test_a_version_is_batched_if_all_other_sizes_are_fixed(versions, exported, tmp_path):
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    def fields(file):
        lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
        return [line.replace("{", ":").split(":")[0].strip() for line in lines], lines[-1].split()[-1]

    _, base, *reports = versions
    for report in reports:
        names, last = fields(report.path / VERSION_BATCHING_FILE)
        # The number of threads is of the server, not of a model; the last allowed size must be the largest batch.
        assert set(names) == {"max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "allowed_batch_sizes"}
        assert int(last) == MAX_BATCH_SIZE
    assert fields(base / "batching_parameters.txt")[0] == ["num_batch_threads"]
    models = (base / "models.config").read_text()
    text_format.Parse(models, model_server_config_pb2.ModelServerConfig())
    for flag in ("--grpc_max_threads=", "--enable_batching", "--enable_per_model_batching_parameters", " mv"):
        assert flag in models
    copy = tmp_path / "1"
    shutil.copytree(exported[-1].path, copy)
    shutil.copy(reports[0].path / VERSION_BATCHING_FILE, copy)
    failed = [check for check in export.verify(copy).checks if not check.passed]
    assert [check.name for check in failed] == [f"sizes under {VERSION_BATCHING_FILE}"]


@pytest.mark.parametrize(
    ("kept", "lost"),
    [
        ((), "saved_model.pb, variables/variables.index, variables/variables.data"),
        (("saved_model.pb",), "variables/variables.index, variables/variables.data"),
        (("saved_model.pb", "variables/variables.index"), "variables/variables.data"),
        (("variables/variables.index", "variables/variables.data-00000-of-00002"), "saved_model.pb, part of variables"),
    ],
)
def test_half_written_versions_are_found(kept, lost, tmp_path):
    whole = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")
    for folder, files in {"1": whole, "2": kept, "3.partial": (), "assets": ()}.items():
        (tmp_path / folder / "variables").mkdir(parents=True)
        for file in files:
            (tmp_path / folder / file).write_text("")
    (found,) = half_written(tmp_path)
    assert found.startswith(f"2 has no {lost}")


def test_verify_warns_of_half_written_versions_beside_the_verified_one(versions, tmp_path):
    report = versions[-1]
    (tmp_path / "7").mkdir()
    shutil.copytree(report.path, tmp_path / "4")
    failed = [check for check in export.verify(tmp_path / "4").checks if not check.passed]
    assert [(check.name, check.measured[:7]) for check in failed] == [("half-written versions", "7 has n")]
    with pytest.raises(export.ExportError, match="7 is no SavedModel"):
        export.verify(tmp_path)


@pytest.mark.thorough
def test_preprocessing_can_stay_outside_or_be_given(versions):
    model, _, outside, given = versions
    plain = "float32[?, 32, 32, 3]"
    assert outside.signatures == {"serving_default": {"inputs": {"image": plain}, "outputs": {"logits": plain}}}
    x = np.random.default_rng(0).normal(0, 50, (2, 32, 32, 3)).astype("float32")
    (answer,) = answers(outside, ("serving_default", {"image": x}))
    assert_close(answer.outputs["logits"], ops.convert_to_numpy(model(x)))
    images = pictures(1, 32, 32)
    (answer,) = answers(given, ("serving_default", {"image": images}))
    assert_close(answer.outputs["logits"], ops.convert_to_numpy(model(OWN(images))))
    assert read_facts(given.path).inputs == {"image": OWN}


def warmed_up(report):
    """Return (signature, input) → array in the warm-up file."""
    import tensorflow as tf

    protos = {(name, key): content for name, inputs in read_warmup(report.path) for key, content in inputs.items()}
    proto = type(tf.make_tensor_proto(0))
    return {key: tf.make_ndarray(proto.FromString(content)) for key, content in protos.items()}


def test_every_signature_is_warmed_up(exported, versions):
    shapes = {key: array.shape for key, array in warmed_up(exported[-1]).items()}
    assert shapes == {("serving_default", "image"): (1, 224, 224, 3), ("encoded", "image_bytes"): (1,)}
    _, _, outside, given = versions
    assert {key: array.shape for key, array in warmed_up(outside).items()} == {
        ("serving_default", "image"): (1, 32, 32, 3)
    }
    arrays = warmed_up(given)
    np.testing.assert_array_equal(arrays["serving_default", "image"], WARM)
    files = [np.asarray(Image.open(io.BytesIO(file))) for file in arrays["encoded", "image_bytes"]]
    np.testing.assert_array_equal(files, WARM)


@pytest.mark.thorough
def test_mixed_precision_is_exported_in_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = network(input_shape=(32, 32, 3))
    keras.config.set_dtype_policy("float32")
    report = export.saved_model(model, tmp_path, preprocess=False)
    assert report.signatures["serving_default"]["inputs"] == {"image": "float32[?, 32, 32, 3]"}
    exact = network(input_shape=(32, 32, 3))
    exact.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(0, 50, (1, 32, 32, 3)).astype("float32")
    (answer,) = answers(report, ("serving_default", {"image": x}))
    assert_close(answer.outputs["logits"], ops.convert_to_numpy(exact(x)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"version": 0}, "version must be a positive integer"),
        ({"version": 2**63}, "servers count in int64"),
        ({"name": "a/b"}, "name must be letters"),
        ({"warmup": False}, "warmup must be"),
        ({"warmup": None}, "warmup must be"),
        ({"warmup": 33}, "at most 32"),
        ({"warmup": {"picture": np.zeros((1, 32, 32, 3), "uint8")}}, r"hold the inputs \['image'\], received \['pict"),
        ({"warmup": {"image": np.zeros((1, 32, 32, 3), "float32")}}, "warmup must be uint8 of .* received float32"),
        ({"warmup": {"image": np.zeros((1, 32, 40, 3), "uint8")}}, r"warmup must be uint8 of \(None, 32, 32, 3\)"),
        ({"warmup": {"image": np.zeros((0, 32, 32, 3), "uint8")}}, "warmup must be"),
        ({"warmup": {"image": np.zeros((33, 32, 32, 3), "uint8")}}, "at most 32"),
        ({"sizes": {"image": (0, 4)}}, r"sizes\['image'\] must fit the model's \(32, 32, 3\), received \(0, 4\)"),
        ({"sizes": {"image": (32, 40)}}, r"sizes\['image'\] must fit"),
        ({"sizes": {"label": (3,)}}, r"sizes are of the inputs \['image'\], received some of \['label'\]"),
        ({"endpoints": {"a b": Endpoint(lambda x: x, {"image": Spec((None, 3), "float32")})}}, "must be an identifier"),
        ({"endpoints": {}}, "at least one signature"),
    ],
)
def test_bad_arguments_write_nothing(fixed, tmp_path, arguments, message):
    base = tmp_path / "models"
    with pytest.raises(ValueError, match=message):
        export.saved_model(fixed, base, **arguments)
    assert not base.exists()


@pytest.mark.thorough
def test_several_inputs_of_their_own_sizes(tmp_path, all_runtimes):
    image, code = keras.Input((8, 8, 3), name="image"), keras.Input((4,), name="code")
    pixels = keras.layers.Flatten()(image)
    outputs = {"scores": keras.layers.Dense(3)(keras.layers.Concatenate()([pixels, code])), "code": code * 2}
    model = keras.Model([image, code], outputs, name="both")
    with all_runtimes():
        report = export.saved_model(model, tmp_path, preprocess=False)
    assert report.signatures["serving_default"] == {
        "inputs": {"code": "float32[?, 4]", "image": "float32[?, 8, 8, 3]"},
        "outputs": {"code": "float32[?, 4]", "scores": "float32[?, 3]"},
    }
    assert [runtime.not_run is None for runtime in report.runtimes] == [True, False]  # OpenVINO renames "code"


def test_a_number_taken_meanwhile_is_left_to_the_other_export(tmp_path, monkeypatch):
    temporary, rename = tmp_path / ".partial.x", Path.rename
    temporary.mkdir()

    def late(path, target):
        if target.name == "1":  # another export takes the number first
            (target / "variables").mkdir(parents=True)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    assert publish(temporary, tmp_path, None) == tmp_path / "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    with pytest.raises(OSError, match="1"):
        publish(tmp_path / "2", tmp_path, 1)


def test_an_unwritable_folder_is_named_and_nothing_is_left(fixed, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(export.ExportError, match="cannot write"):
        export.saved_model(fixed, tmp_path / "file" / "models")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_model_with_nan_is_refused_and_nothing_is_left(tmp_path):
    model = network(input_shape=(32, 32, 3))
    kernel, bias = model.get_layer("score_fr").get_weights()
    model.get_layer("score_fr").set_weights([kernel * np.nan, bias])
    with pytest.raises(export.ExportError, match="NaN or infinity in score_fr/kernel"):
        export.saved_model(model, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_python_in_the_graph_is_refused_and_nothing_is_left(tmp_path):
    import tensorflow as tf

    @keras.saving.register_keras_serializable(package="test")
    class Smuggler(keras.layers.Layer):
        def call(self, x):
            return tf.ensure_shape(tf.py_function(lambda y: y, [x], tf.float32), x.shape)

        def compute_output_shape(self, shape):
            return shape

    image = keras.Input((8, 8, 3), name="image")
    model = keras.Model(image, Smuggler()(keras.layers.Conv2D(2, 1)(image)), name="smuggler")
    with pytest.raises((export.ExportError, ValueError), match=r"(?i)python|EagerPyFunc"):
        export.saved_model(model, tmp_path / "models", preprocess=False)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("damage", ["empty", "truncated graph", "truncated weights"])
def test_verify_of_a_damaged_model_fails_clearly(exported, tmp_path, damage):
    _, _, report = exported
    copy = tmp_path / "1"
    shutil.copytree(report.path, copy)
    if damage == "empty":
        (copy / "saved_model.pb").unlink()
    else:
        (victim,) = copy.glob("saved_model.pb" if "graph" in damage else "variables/*.data*")
        victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])

    def verified():
        export.verify(copy).raise_if_failed()

    with pytest.raises(export.ExportError):
        verified()


def test_the_shipped_model_runs_in_the_c_api():
    shipped = Path(__file__).parents[2] / "savedmodels" / "fcn8s" / "1"
    report = export.verify(shipped)
    report.raise_if_failed()
    assert set(report.signatures) == {"serving_default", "encoded"}
    both = np.zeros((2, 64, 64, 3), "uint8")
    both[0], both[1] = (30, 64, 130), (60, 70, 40)  # blue and green
    (answer,) = run_saved_model(shipped, [Call("serving_default", {"image": both})])[1]
    sea, land = answer.outputs["logits"].argmax(-1)
    assert (sea == LABELS.index("sea")).mean() > 0.9
    assert (land == LABELS.index("land")).mean() > 0.9
