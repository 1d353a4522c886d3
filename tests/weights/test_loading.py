import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import keras_segattn
from keras_segattn import weights

FORMATS = (
    "torch zip",
    "torch legacy",
    "safetensors",
    "Caffe V2",
    "Caffe V1",
    "Keras 1",
    "Keras 2",
    "Keras 3",
    "pickle",
)
# Files are truncated at random offsets, one file per format; writing the file and building the model take little time.
TRUNCATIONS = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def snapshot(model):
    return [np.array(value) for value in model.get_weights()]


def assert_unchanged(model, before):
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def written(writers, folder, kind, values):
    name, write = writers.FORMATS[kind]
    write(folder / name, values)
    return folder / name


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_fills_every_variable(network, writers, tmp_path, kind):
    values = writers.random_values(network)
    report = weights.load(network, written(writers, tmp_path, kind, values))
    assert report.complete
    assert {f"{match.layer}.{match.variable}" for match in report.matched} == set(values)
    for layer in network.layers:
        for variable in layer.weights:
            np.testing.assert_array_equal(variable, values[f"{layer.name}.{variable.name}"])


@pytest.mark.parametrize("kind", FORMATS)
@given(share=st.floats(0, 1, exclude_max=True))
@TRUNCATIONS
def test_truncated_file_is_refused_and_changes_nothing(network, writers, tmp_path, kind, share):
    path = written(writers, tmp_path, kind, writers.random_values(network))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    before = snapshot(network)
    with pytest.raises(weights.WeightsError, match=path.name):
        weights.load(network, path)
    assert_unchanged(network, before)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_not_a_number_is_refused_and_changes_nothing(network, writers, tmp_path, kind, bad):
    values = writers.random_values(network)
    values["fc.bias"][-1] = bad  # the last variable: all others have passed the check by then
    path = written(writers, tmp_path, kind, values)
    before = snapshot(network)
    with pytest.raises(weights.WeightsError, match=r"net\..*finite float32 numbers in fc\."):
        weights.load(network, path)
    assert_unchanged(network, before)


@pytest.mark.parametrize(
    "name", ["net.pth", "net.safetensors", "net.h5", "net.caffemodel", "net.weights.h5", "net.pkl"]
)
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><title>404</title>", "found"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "found"),
    ],
)
def test_foreign_content_is_refused_under_any_name(network, tmp_path, name, content, found):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(weights.WeightsError, match=rf"{name}: expected .*{found}"):
        weights.load(network, path)


def test_absent_file(network, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a weight file, found nothing"):
        weights.load(network, tmp_path / "none.pth")
    with pytest.raises(FileNotFoundError, match="found a folder"):
        weights.load(network, tmp_path)


def test_differences_are_reported_and_refused_unless_partial(network, writers, tmp_path):
    tensors = writers.foreign(writers.random_values(network))
    del tensors["deconv.weight"]
    tensors["aux.weight"] = np.zeros((2, 2), "float32")
    path = tmp_path / "net.pth"
    writers.write_torch_zip(path, tensors)
    before = snapshot(network)
    with pytest.raises(weights.WeightsError) as error:
        weights.load(network, path)
    assert "4 matched, 1 missing, 1 unexpected, 0 shape mismatch" in str(error.value)
    assert "missing: deconv.kernel" in str(error.value)
    assert "unexpected: aux.weight" in str(error.value)
    assert_unchanged(network, before)

    report = weights.load(network, path, partial=True)
    assert report.missing == ("deconv.kernel",)
    assert report.unexpected == ("aux.weight",)
    assert not report.complete
    np.testing.assert_array_equal(network.get_layer("conv1").bias, tensors["conv1.bias"])
    np.testing.assert_array_equal(network.get_layer("deconv").kernel, before[2])


@pytest.mark.parametrize("partial", [False, True])
def test_shape_mismatch_is_accepted_only_on_demand(network, writers, tmp_path, partial):
    tensors = writers.foreign(writers.random_values(network))
    tensors["conv1.weight"] = np.zeros((4, 3, 5, 5), "float32")
    path = tmp_path / "net.pth"
    writers.write_torch_zip(path, tensors)
    before = snapshot(network)
    with pytest.raises(weights.WeightsError, match=r"conv1\.kernel \(3, 3, 3, 4\) <- conv1\.weight \(4, 3, 5, 5\)"):
        weights.load(network, path, partial=partial)
    assert_unchanged(network, before)
    report = weights.load(network, path, partial=partial, skip_mismatch=True)
    assert [(m.layer, m.variable, m.source) for m in report.shape_mismatch] == [("conv1", "kernel", "conv1.weight")]
    assert "shape mismatch: conv1.kernel (3, 3, 3, 4) <- conv1.weight (4, 3, 5, 5)" in str(report)
    assert not report.complete
    np.testing.assert_array_equal(network.get_layer("conv1").kernel, before[0])
    np.testing.assert_array_equal(network.get_layer("fc").bias, tensors["fc.bias"])


def test_errors_name_the_arguments_that_accept_the_differences(network, writers, tmp_path):
    tensors = writers.foreign(writers.random_values(network))
    tensors["fc.bias"] = np.zeros(7, "float32")
    writers.write_torch_zip(tmp_path / "net.pth", tensors)
    with pytest.raises(weights.WeightsError, match=r"skip_mismatch=True\) leaves out") as error:
        weights.load(network, tmp_path / "net.pth", partial=True)
    assert "partial=True" not in str(error.value)
    del tensors["conv1.bias"]
    writers.write_torch_zip(tmp_path / "net.pth", tensors)
    with pytest.raises(weights.WeightsError, match=r"partial=True\) accepts .*skip_mismatch=True\) leaves out"):
        weights.load(network, tmp_path / "net.pth")


def test_nothing_but_mismatches_is_an_error(network, writers, tmp_path):
    writers.write_torch_zip(tmp_path / "net.pth", {"fc.bias": np.zeros(7, "float32")})
    with pytest.raises(weights.WeightsError, match="0 matched"):
        weights.load(network, tmp_path / "net.pth", partial=True, skip_mismatch=True)


def test_no_match_is_an_error_even_if_partial(network, writers, tmp_path):
    writers.write_torch_zip(tmp_path / "net.pth", {"other.weight": np.zeros((2, 2), "float32")})
    with pytest.raises(weights.WeightsError, match="0 matched"):
        weights.load(network, tmp_path / "net.pth", partial=True)


def test_report_as_table_and_text(network, writers, tmp_path):
    from rich.console import Console

    path = written(writers, tmp_path, "torch zip", writers.random_values(network))
    report = weights.load(network, path)
    console = Console(width=200, record=True, quiet=True)
    with console.capture() as shown:
        console.quiet = False
        console.print(report.table())
    assert "fc.kernel" in shown.get()
    assert "fc.weight" in shown.get()
    assert str(report) == f"{path} (PyTorch checkpoint): {report.summary().split(': ', 1)[1]}"


def test_an_error_names_the_first_of_each_outcome_and_holds_the_whole_report(network, writers, tmp_path):
    tensors = writers.foreign(writers.random_values(network))
    del tensors["deconv.weight"]
    tensors |= {f"aux{number}.weight": np.zeros((2, 2), "float32") for number in range(300)}
    writers.write_torch_zip(tmp_path / "net.pth", tensors)
    with pytest.raises(weights.WeightsError) as error:
        weights.load(network, tmp_path / "net.pth")
    text, report = str(error.value), error.value.report
    assert text.count("unexpected: aux") == 5
    assert text.endswith("… and 295 more unexpected")
    assert "missing: deconv.kernel" in text
    assert "more missing" not in text
    assert len(report.unexpected) == report.table().row_count - 5 == 300
    assert [name for outcome, _, name in report.rows() if outcome == "unexpected"] == list(report.unexpected)


def test_an_unreadable_file_has_no_report(network, tmp_path):
    (tmp_path / "net.pth").write_bytes(b"nothing of the kind")
    with pytest.raises(weights.WeightsError) as error:
        weights.load(network, tmp_path / "net.pth")
    assert error.value.report is None


def test_batch_normalisation_and_its_counter(writers, tmp_path):
    image = keras.Input((4, 4, 2))
    model = keras.Model(image, keras.layers.BatchNormalization(name="bn")(image))
    values = writers.random_values(model)
    tensors = {
        "module.bn.weight": values["bn.gamma"],
        "module.bn.bias": values["bn.beta"],
        "module.bn.running_mean": values["bn.moving_mean"],
        "module.bn.running_var": values["bn.moving_variance"],
        "module.bn.num_batches_tracked": np.array(7),
    }
    writers.write_torch_zip(tmp_path / "bn.pth", tensors)
    report = weights.load(model, tmp_path / "bn.pth")
    assert report.ignored == ("bn.num_batches_tracked",)
    for variable in model.weights:
        np.testing.assert_array_equal(variable, values[f"bn.{variable.name}"])


def test_caffe_normalisation_blobs_fill_nothing(writers, tmp_path):
    image = keras.Input((4, 4, 2))
    x = keras.layers.Conv2D(2, 1, name="conv")(image)
    model = keras.Model(image, keras.layers.BatchNormalization(name="bn")(x))
    tensors = {
        "conv.blob0": np.ones((2, 2, 1, 1)),
        "conv.blob1": np.ones(2),
        "bn.blob0": np.ones(2),
        "bn.blob1": np.ones(2),
    }
    writers.write_caffemodel(tmp_path / "net.caffemodel", tensors)
    report = weights.load(model, tmp_path / "net.caffemodel", partial=True)
    assert report.unexpected == ("bn.blob0", "bn.blob1")
    assert len(report.missing) == 4


@pytest.fixture(scope="module")
def tiny_vgg16():
    """VGG16 at a 32nd of its width and at its full image size, on which the shape of fc1 depends."""
    return keras_segattn.VGG16(input_shape=(224, 224, 3), alpha=0.03125, classes=3)


BACKBONE = tuple(f"block{block}_conv{conv}" for block, n in enumerate((2, 2, 3, 3, 3), 1) for conv in range(1, n + 1))


@pytest.mark.parametrize("kind", ["Keras 2", "torchvision", "Caffe"])
def test_vgg16_classifier_becomes_convolutional_in_fcn(tiny_vgg16, writers, tmp_path, kind):
    values = writers.random_values(tiny_vgg16)
    if kind == "Keras 2":
        path = tmp_path / "vgg16.h5"
        writers.write_legacy_h5(path, values)
        rest = ("predictions.bias", "predictions.kernel")
    else:
        names = dict(
            zip(BACKBONE, (f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)), strict=True)
        )
        names |= {"fc1": "classifier.0", "fc2": "classifier.3", "predictions": "classifier.6"}
        rest = ("classifier.6.weight", "classifier.6.bias")
        if kind == "Caffe":
            names = {layer: layer.replace("block", "conv").replace("_conv", "_") for layer in BACKBONE}
            names |= {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"}
            rest = ("fc8.blob0", "fc8.blob1")
        tensors = {}
        for name, value in values.items():
            layer, leaf = name.split(".")
            foreign = writers.foreign_layout(value, flattened=(7, 7) if layer == "fc1" else (1, 1))
            tensors[f"{names[layer]}.{leaf.replace('kernel', 'weight')}"] = foreign
        path = tmp_path / ("vgg16.pth" if kind == "torchvision" else "vgg16.caffemodel")
        if kind == "torchvision":
            writers.write_torch_zip(path, tensors)
        else:
            writers.write_caffemodel(path, tensors, version=1)

    report = weights.load(tiny_vgg16, path)
    assert report.complete
    fcn = keras_segattn.FCN8s(input_shape=(64, 64, 3), alpha=0.03125, classes=3)
    report = weights.load(fcn, path, partial=True)
    assert sorted(report.unexpected) == sorted(rest)
    assert {match.layer for match in report.matched} == {*BACKBONE, "fc6", "fc7"}
    assert {name.split(".")[0] for name in report.missing} == {
        *("score_fr", "score_pool4", "score_pool3"),
        *("upscore2", "upscore_pool4", "upscore8"),
    }
    # The convolution over one 7×7 map is the dense layer over the same map flattened.
    pool5 = np.random.default_rng(1).standard_normal((2, 7, 7, 16), dtype="float32")
    dense = tiny_vgg16.get_layer("fc1")(pool5.reshape(2, -1))
    np.testing.assert_allclose(fcn.get_layer("fc6")(pool5)[:, 0, 0], dense, rtol=1e-4, atol=1e-4)


def test_fcn_convolutions_become_dense_in_vgg16(tiny_vgg16, writers, tmp_path):
    fcn = keras_segattn.FCN32s(input_shape=(32, 32, 3), alpha=0.03125, classes=3)
    weights.save(fcn, tmp_path / "fcn.safetensors")
    report = weights.load(tiny_vgg16, tmp_path / "fcn.safetensors", partial=True)
    assert report.missing == ("predictions.kernel", "predictions.bias")
    assert report.unexpected == ("score_fr.bias", "score_fr.kernel", "upscore.kernel")
    pool5 = np.random.default_rng(1).standard_normal((2, 7, 7, 16), dtype="float32")
    convolution = fcn.get_layer("fc6")(pool5)[:, 0, 0]
    dense = tiny_vgg16.get_layer("fc1")(pool5.reshape(2, -1))
    np.testing.assert_allclose(dense, convolution, rtol=1e-4, atol=1e-4)


def test_caffenet_and_its_fully_convolutional_form_from_one_caffemodel(writers, tmp_path):
    model = keras_segattn.CaffeNet(alpha=0.03125, classes=3)
    values = writers.random_values(model)
    tensors = {}
    for name, value in values.items():
        tensors[name] = writers.foreign_layout(value, flattened=(6, 6) if name == "fc6.kernel" else (1, 1))
    path = tmp_path / "caffenet.caffemodel"
    writers.write_caffemodel(path, tensors, version=1)
    assert weights.load(model, path).complete
    for layer in model.layers:
        for variable in layer.weights:
            np.testing.assert_array_equal(variable, values[f"{layer.name}.{variable.name}"])
    fcn = keras_segattn.FCNAlexNet(alpha=0.03125, classes=3)
    report = weights.load(fcn, path, partial=True)
    assert report.unexpected == ("fc8.blob0", "fc8.blob1")
    assert report.missing == ("score_fr.kernel", "score_fr.bias", "upscore.kernel")


def test_rcnn_from_the_caffemodel_of_its_fine_tuned_network(writers, tmp_path):
    arguments = {"alpha": 0.03125, "classes": 3, "regions": 2}
    model = keras_segattn.RCNN(**arguments, head="softmax", box_regression=False)
    values = writers.random_values(model)
    tensors = {}
    for name, value in values.items():
        blob = writers.foreign_layout(value, flattened=(6, 6) if name == "fc6.kernel" else (1, 1))
        tensors[name.replace("fc8", "fc8_pascal")] = blob
    path = tmp_path / "finetune_voc_2012_train_iter_70k"
    writers.write_caffemodel(path, tensors, version=1)
    assert weights.load(model, path).complete
    for layer in model.layers:
        for variable in layer.weights:
            np.testing.assert_array_equal(variable, values[f"{layer.name}.{variable.name}"])
    whole = keras_segattn.RCNN(**arguments)
    report = weights.load(whole, path, partial=True)
    assert set(report.missing) == {
        f"{name}.{leaf}" for name in ("svm", "box_regression") for leaf in ("kernel", "bias")
    }


def at_once_blobs(writers, factor):
    """A released at-once network's file, which holds the fixed factor before score_pool4 once per channel."""
    model = keras_segattn.FCN16s(alpha=0.03125, classes=3, at_once=True)
    tensors = {name: writers.foreign_layout(value) for name, value in writers.random_values(model).items()}
    return model, tensors | {"scale_pool4.factor": np.full(16, factor, "float32")}


def test_fixed_factors_of_the_at_once_network_are_bookkeeping(writers, tmp_path):
    model, tensors = at_once_blobs(writers, 0.01)
    path = tmp_path / "fcn16s-atonce.caffemodel"
    writers.write_caffemodel(path, tensors)
    report = weights.load(model, path)
    assert report.complete
    assert report.ignored == ("scale_pool4.blob0",)
    staged = keras_segattn.FCN16s(alpha=0.03125, classes=3)
    with pytest.raises(weights.WeightsError, match=r"unexpected: scale_pool4\.blob0"):
        weights.load(staged, path)

    model, tensors = at_once_blobs(writers, 0.02)
    writers.write_caffemodel(path, tensors)
    with pytest.raises(weights.WeightsError, match=r"unexpected: scale_pool4\.blob0"):
        weights.load(model, path)


def test_values_too_large_for_the_variables_are_refused(writers, tmp_path):
    image = keras.Input((2,), dtype="float16")
    model = keras.Model(image, keras.layers.Dense(1, name="fc", dtype="float16")(image))
    writers.write_torch_zip(
        tmp_path / "fc.pth", {"fc.weight": np.full((1, 2), 1e6, "float32"), "fc.bias": np.zeros(1, "float32")}
    )
    with pytest.raises(weights.WeightsError, match=r"finite float16 numbers in fc\.weight"):
        weights.load(model, tmp_path / "fc.pth")


def test_not_a_number_in_an_unused_tensor_is_refused(network, writers, tmp_path):
    tensors = writers.foreign(writers.random_values(network))
    tensors["head.weight"] = np.array([np.nan], "float32")
    writers.write_torch_zip(tmp_path / "net.pth", tensors)
    with pytest.raises(weights.WeightsError, match=r"finite float32 numbers in head\.weight"):
        weights.load(network, tmp_path / "net.pth", partial=True)


def normalised(bias, classes=3, channels=4):
    """Model of a convolution, whose batch normalisation has no scale, and a classifier."""
    image = keras.Input((4, 4, 2))
    x = keras.layers.Conv2D(channels, 1, use_bias=bias, name="conv")(image)
    x = keras.layers.BatchNormalization(scale=False, name="bn")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(image, {"map": x, "logits": keras.layers.Dense(classes, name="fc")(x)})


def normalised_tensors(channels=4):
    generator = np.random.default_rng(0)
    tensors = {
        name: generator.normal(size=channels) for name in ("conv.bias", "bn.weight", "bn.bias", "bn.running_mean")
    }
    tensors["bn.running_var"] = generator.uniform(0.5, 2, channels)
    tensors["conv.weight"] = generator.normal(size=(channels, 2, 1, 1))
    return {name: array.astype("float32") for name, array in tensors.items()}


def test_scale_and_bias_are_folded_also_if_other_layers_are_missing(writers, tmp_path):
    tensors = normalised_tensors()
    writers.write_torch_zip(tmp_path / "net.pth", tensors)
    model = normalised(bias=False)
    report = weights.load(model, tmp_path / "net.pth", partial=True)
    assert report.missing == ("fc.kernel", "fc.bias")
    assert not report.unexpected
    x = np.random.default_rng(1).normal(size=(2, 4, 4, 2)).astype("float32")
    maps = np.einsum("bhwi,oi->bhwo", x, tensors["conv.weight"][:, :, 0, 0]) + tensors["conv.bias"]
    scale = tensors["bn.weight"] / np.sqrt(tensors["bn.running_var"] + model.get_layer("bn").epsilon)
    expected = (maps - tensors["bn.running_mean"]) * scale + tensors["bn.bias"]
    # the tolerance allows float32 products in another order
    np.testing.assert_allclose(np.reshape(model(x)["map"], expected.shape), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["conv.bias", "bn.weight"])
@pytest.mark.parametrize("size", [1, 5])
def test_what_is_folded_must_fit(name, size, writers, tmp_path):
    tensors = normalised_tensors() | {name: np.ones(size, "float32")}
    writers.write_torch_zip(tmp_path / "net.pth", tensors)
    model = normalised(bias=False)
    before = model.get_weights()
    with pytest.raises(weights.WeightsError, match="shape mismatch"):
        weights.load(model, tmp_path / "net.pth", partial=True, skip_mismatch=True)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_a_folder_is_no_weight_file(network):
    with pytest.raises((weights.WeightsError, IsADirectoryError, FileNotFoundError), match=r"\."):
        weights.load(network, ".")


def test_mnc_from_a_caffemodel(writers, tmp_path):
    card = keras_segattn.model_card("MNC")
    model = card.builder(**card.tiny)
    values = writers.random_values(model)
    maps = {"fc6_maskest": (14, 14), "fc6_mask": (7, 7), "fc6_box": (7, 7)}
    renamed = {"rpn_conv_3x3": "rpn_conv/3x3", "fc6_box": "fc6", "fc7_box": "fc7"}
    tensors = {}
    for name, value in values.items():
        layer, leaf = name.split(".")
        blob = writers.foreign_layout(value, flattened=maps.get(layer, (1, 1)) if leaf == "kernel" else (1, 1))
        if layer == "bbox_pred":  # the file holds refinements in units of box sizes
            blob = blob / np.resize([10, 10, 5, 5], len(blob)).reshape(-1, *[1] * (blob.ndim - 1))
        layer = renamed.get(layer, layer.replace("block", "conv").replace("_conv", "_"))
        tensors[f"{layer}.{'blob0' if leaf == 'kernel' else 'blob1'}"] = blob.astype("float32")
    assert {"conv1_1.blob0", "rpn_conv/3x3.blob0", "fc6.blob0", "fc6_mask.blob1", "seg_cls_score.blob0"} <= set(tensors)
    path = tmp_path / "mnc_model.caffemodel"
    writers.write_caffemodel(path, tensors)
    assert weights.load(model, path).complete
    for layer in model.layers:
        for variable in layer.weights:
            np.testing.assert_allclose(variable, values[f"{layer.name}.{variable.name}"], rtol=1e-6)
