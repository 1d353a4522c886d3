"""Both export profiles, for every registered model and through every runtime."""

import shutil

import numpy as np
import pytest
from harness import tiny_model
from keras import ops

from keras_segattn import export, facts_of, graph, list_models, model_card, read_facts
from keras_segattn.endpoints import whole_model
from keras_segattn.export.archive import write_archive
from keras_segattn.export.mobile import tflite
from keras_segattn.export.preparation import drawn, prepared
from keras_segattn.fields import Picture, Tokens
from keras_segattn.inputs import Stamp

CARDS = [model_card(name) for name in list_models()]
# Builders of one module for one task differ only in sizes: the first is exported in all precisions and for servers, its
# siblings in the two precisions between which the others lie.
FIRST = {*{(card.builder.__module__, card.task): card.name for card in reversed(CARDS)}.values()}
# Standard deviation of natural pictures, in units of 0..255 intensities.
DEVIATION = 64.0
ALL_PRECISIONS, ENDS = (None, "float16", "dynamic", "int8"), (None, "int8")


def precisions_of(card):
    """The precisions in which a card's miniature is tried; a detector takes ten times as long as a classifier."""
    return ALL_PRECISIONS if card.name in FIRST and card.task != "detect" else ENDS


def param(card, *more):
    """A parameter of tests; all tests of a model run in one worker."""
    name = "-".join(map(str, (card.name, *more)))
    return pytest.param(card, *more, id=name, marks=pytest.mark.xdist_group(card.name))


def tame(model):
    """The model, its first kernels behind pictures of plain intensities divided by their deviation.

    Random kernels expect inputs near 1; pixels of ±100 saturate whatever comes behind, and differences of rounding are
    those of huge numbers.
    """
    for layer in first_layers(model):
        layer.kernel.assign(ops.divide(layer.kernel, DEVIATION))
    return model


def first_layers(model):
    """The layers with a kernel that read pictures of deviations of 1 directly."""
    found = {}
    for tensor in model.inputs:
        stamps = [layer for layer in graph.downstream(model, tensor) if isinstance(layer, Stamp)]
        kinds = [stamp.field for stamp in stamps if stamp.field is not None]
        if not kinds or not isinstance(kinds[0], Picture) or set(kinds[0].std) != {1.0}:
            continue
        waiting = [tensor]
        while waiting:
            source = waiting.pop()
            for node in graph.calls(model):
                if any(one is source for one in node.input_tensors):
                    if hasattr(node.operation, "kernel"):
                        found[node.operation.name] = node.operation
                    else:
                        waiting += node.output_tensors
    return list(found.values())


# The miniature of a card, once for all tests of it.
@pytest.fixture(scope="module")
def model_of(request):
    made = {}

    def build(card):
        if card.name not in made:
            made[card.name] = tame(tiny_model(card))
        return made[card.name]

    return build


@pytest.fixture(scope="module")
def write_once(tmp_path_factory):
    """Like `write_archive`, but the files of a model come from one trace."""
    folder, traced = tmp_path_factory.mktemp("archives"), {}

    def writer(name):
        def write(endpoints, directory):
            if name not in traced:
                traced[name] = folder / name
                write_archive(endpoints, traced[name])
            shutil.copytree(traced[name], directory)

        return write

    return writer


def calibration_of(model, samples=8):
    """Signature → input → plausible samples, drawn by the kinds of the inputs."""
    ready = prepared(model, None, None, None, batch=1)
    ones = [drawn(ready, 1, seed, pixels=False) for seed in range(1, samples + 1)]
    return {
        signature: {name: np.concatenate([one[signature][name] for one in ones]) for name in inputs}
        for signature, inputs in ones[0].items()
    }


def facts_with_words(card, model):
    """The facts of a model, with names for all that can have one."""
    facts = facts_of(model)
    words = {
        kind.vocabulary: ["<pad>", "<bos>", "<eos>", "<unk>", *(f"word{i}" for i in range(4, kind.size))]
        for kind in facts.inputs.values()
        if isinstance(kind, Tokens)
    }
    classes = card.tiny.get("classes")
    if classes is None or (card.task == "classify" and "label" in facts.inputs):  # a discriminator's are given to it
        return facts_of(model, vocabularies=words)
    named = classes - (card.task == "detect")  # a detector's background has no name
    return facts_of(model, labels=[f"class {i}" for i in range(named)])


def given_inputs(card, model):
    """Names of the inputs of a model's first signature."""
    names = {tensor.name for tensor in model.inputs}
    return {name for name in names if not getattr(card.inputs[name], "target", False)}


@pytest.mark.parametrize("card", [param(card) for card in CARDS if card.name in FIRST])
def test_saved_model(card, model_of, tmp_path):
    model = model_of(card)
    facts = facts_with_words(card, model)
    report = export.saved_model(model, tmp_path, facts=facts)
    assert report.passed
    assert report.path.is_dir()
    assert read_facts(report.path) == facts
    default = report.signatures["serving_default"]
    assert set(default["inputs"]) == given_inputs(card, model)
    for name, spec in default["inputs"].items():
        assert spec.startswith("uint8") is isinstance(card.inputs[name], Picture)
    alone = [isinstance(card.inputs[name], Picture) for name in default["inputs"]] == [True]
    assert ("encoded" in report.signatures) is alone
    if card.task == "generate":
        assert [*default["outputs"]] == ["image"]


@pytest.mark.parametrize(
    ("card", "quantize"), [param(card, quantize) for card in CARDS for quantize in precisions_of(card)]
)
def test_tflite(card, quantize, model_of, tmp_path, write_once, monkeypatch):
    model, path = model_of(card), tmp_path / "model.tflite"
    monkeypatch.setattr(tflite, "write_archive", write_once(card.name))
    calibration = calibration_of(model) if quantize == "int8" else None
    if quantize == "int8" and "int8" not in card.claims:
        with pytest.raises(export.ExportError, match="difference to Keras"):
            export.tflite(model, path, quantize="int8", calibration=calibration)
        assert not list(tmp_path.iterdir())
        return
    report = export.tflite(model, path, quantize=quantize, calibration=calibration)
    assert report.passed
    assert report.flex_operators == ()
    assert path.is_file()
    facts = read_facts(path)
    assert (facts.card, facts.task, facts.quantization) == (card.name, card.task, quantize or "float32")
    signature = "serving_default" if card.endpoints is whole_model else "decode_beam"
    assert next(iter(report.signatures)) == signature or signature in report.signatures
    assert set(report.signatures[signature]["inputs"]) == given_inputs(card, model)
    if card.task == "generate":
        assert [*report.signatures[signature]["outputs"]] == ["image"]
