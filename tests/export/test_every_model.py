"""Export of every registered model to both formats, and its answers in every runtime."""

import functools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
from agreement import assert_agree
from harness import GUARDED, REPRESENTATIVES, tame, tiny_model
from PIL import Image
from sequence_exports import LETTERS, RULES, WORDS
from served_requests import sent

from keras_segattn import export, facts_of, list_models, load, model_card, read_facts, save
from keras_segattn.endpoints import whole_model
from keras_segattn.export.archive import write_archive
from keras_segattn.export.mobile import tflite
from keras_segattn.export.preparation import drawn, prepared
from keras_segattn.export.runtimes.libtensorflow import Call, run_saved_model
from keras_segattn.facts import Facts, endpoints_of
from keras_segattn.fields import Boxes, OneHot, Picture, Tokens
from keras_segattn.tasks import task_of

CARDS = [model_card(name) for name in list_models()]

PRECISIONS = (None, "float16", "dynamic", "int8")
# Cards that every run quantises: one for each quick task, and one with a layer that int8 leaves alone. The quantiser is
# the same for all cards, and `make thorough` runs it on each.
QUANTISED = {"SqueezeNet1_1", "FCN8s", "ConditionalDCGANGenerator", "SpatialTransformerNetwork"}
# Card of a model that `written_models` exports for servers in any case, and the worker in which it does.
WRITTEN, ITS_WORKER = "RNNSearch", "sequences"
# Cards whose servers get malformed requests in every run: a server refuses them by the kinds of its inputs, and among
# these cards is one with each kind.
ATTACKED = {"SqueezeNet1_1", "FCN8s", "RNNSearch", "ConditionalDCGANGenerator", "RCNN"}
# Cards that every run exports for phones only, which traces the same models. Those that it exports for servers, too,
# are of the same tasks, but for detectors, whose export takes longest.
RARELY_SERVED = {
    "ConditionalDCGANDiscriminator",
    "EfficientNetLite0",
    "MaskRCNN",
    "MultiScaleConvNet",
    "RecurrentConvNet",
    "TextonBoost",
}
# Requests among them for the server of the model that reads texts.
MALFORMED_TEXTS = ("scalar", "rank above", "white space", "no UTF-8", "too long")
# Cards whose servers get files, one for each task whose models read pictures alone.
FILED = {"SqueezeNet1_1", "FCN8s", "MaskRCNN"}


def precisions_of(card):
    """Return the precisions in which a card's miniature is exported: siblings and detectors in the first and last."""
    return PRECISIONS if card.name in REPRESENTATIVES and card.task != "detect" else (PRECISIONS[0], PRECISIONS[-1])


def param(card, *more):
    """Return a test parameter; all tests of a model run in one worker, which exports it once."""
    name = "-".join(map(str, (card.name, *more)))
    rare = {"float16", "dynamic"} if card.name in QUANTISED else {"float16", "dynamic", "int8"}
    if card.name in RARELY_SERVED:
        rare |= {"served"}
    marks = [pytest.mark.thorough] if card.name in GUARDED or rare & set(more) else []
    worker = ITS_WORKER if card.name == WRITTEN else card.name
    return pytest.param(card, *more, id=name, marks=[pytest.mark.xdist_group(worker), *marks])


def test_what_every_run_leaves_out_is_guarded_by_another_card():
    assert QUANTISED <= REPRESENTATIVES
    for card, guard in GUARDED.items():
        assert model_card(card).task == model_card(guard).task
        assert {card, guard} <= REPRESENTATIVES
        assert guard not in GUARDED
    assert RARELY_SERVED <= REPRESENTATIVES - QUANTISED - ATTACKED


# Builds the miniature of a card once for all its tests.
@pytest.fixture(scope="module")
def model_of(request):
    made = {}

    def build(card):
        if card.name not in made:
            written = card.name == WRITTEN
            made[card.name] = (
                request.getfixturevalue("written_models")["speller"][0] if written else tame(tiny_model(card))
            )
        return made[card.name]

    return build


@pytest.fixture(scope="module")
def write_once(tmp_path_factory):
    """Return a replacement for `write_archive` that traces each model once and copies the files afterwards."""
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
    """Draw plausible samples by the kinds of the inputs: signature → input → array."""
    ready = prepared(model, None, None, open_sizes(model), batch=1)
    ones = [drawn(ready, 1, seed, pixels=False) for seed in range(1, samples + 1)]
    return {
        signature: {name: np.concatenate([one[signature][name] for one in ones]) for name in inputs}
        for signature, inputs in ones[0].items()
    }


def facts_with_words(card, model):
    """Return the facts of a model, with names for all classes or tokens."""
    facts = facts_of(model)
    words = {
        kind.vocabulary: ["<pad>", "<bos>", "<eos>", "<unk>", *(f"word{i}" for i in range(4, kind.size))]
        for kind in facts.inputs.values()
        if isinstance(kind, Tokens)
    }
    classes = card.tiny.get("classes")
    if classes is None or (
        card.task == "classify" and "label" in facts.inputs
    ):  # classes are an input of a discriminator
        return facts_of(model, vocabularies=words)
    named = classes - (card.task == "detect")  # the background of a detector has no name
    return facts_of(model, labels=[f"class {i}" for i in range(named)])


def given_inputs(card, model):
    """Return the names of the inputs of a model's first signature."""
    names = {tensor.name for tensor in model.inputs}
    return {name for name in names if not getattr(card.inputs[name], "target", False)}


PICTURE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8).repeat(2, axis=0).repeat(2, axis=1)
# Examples of user input by the kind of input.
GIVEN = {Picture: PICTURE, Tokens: [4, 5, 6], OneHot: 1, Boxes: [(10, 4, 50, 70), (60.5, 20, 112, 80)]}
# Length that replaces a size which the miniature leaves open.
LENGTH = 5


def example_of(application):
    """Return the inputs that a user would give to a miniature."""
    asked = task_of(application.facts.task).asks(application.facts, application.shapes)
    return [GIVEN[type(kind)] for kind in asked.values()]


@pytest.fixture(scope="module")
def stored(request, model_of, write_once, tmp_path_factory):
    """Return a function that stores the miniature of a card in float32, each form once for all its tests."""
    made = {}

    def store(card):
        if card.name not in made:
            folder, model = tmp_path_factory.mktemp(card.name), model_of(card)
            facts = facts_with_words(card, model)
            if card.name == WRITTEN:
                facts = facts_of(model, vocabularies={"source": LETTERS, "target": WORDS}, options=RULES)
            save(model, folder / "model.keras", facts=facts)

            def serve():
                if card.name == WRITTEN:
                    return request.getfixturevalue("written_models")["speller"][1]
                return export.saved_model(model, folder, 1, facts=facts, name="served")

            def phone():
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(tflite, "write_archive", write_once(card.name))
                    return export.tflite(model, folder / "model.tflite", facts=facts, sizes=open_sizes(model))

            made[card.name] = Stored(folder, model, facts, functools.cache(serve), functools.cache(phone))
        return made[card.name]

    return store


@pytest.fixture(scope="module")
def opened():
    """Return `load`, which opens each stored model once for all tests."""
    return functools.cache(load)


class Stored(NamedTuple):
    folder: Path
    model: keras.Model
    facts: Facts
    served: Callable[[], export.ExportReport]
    phone: Callable[[], export.ExportReport]


def open_sizes(model):
    """Return sizes for the inputs whose sizes a miniature leaves open."""
    endpoint = next(iter(endpoints_of(model, facts_of(model)).values()))
    return {
        name: tuple(size or LENGTH for size in spec.shape[1:])
        for name, spec in endpoint.inputs.items()
        if None in spec.shape[1:]
    }


@pytest.mark.parametrize(("card", "_form"), [param(card, "served") for card in CARDS])
def test_saved_model(card, _form, stored):
    facts, report = stored(card).facts, stored(card).served()
    assert report.passed
    assert report.path.is_dir()
    assert replace(read_facts(report.path), files=None) == facts
    assert (read_facts(report.path).files is None) is ("encoded" not in report.signatures)
    default = report.signatures["serving_default"]
    assert set(default["inputs"]) == given_inputs(card, stored(card).model)
    for name, spec in default["inputs"].items():
        assert spec.startswith("uint8") is isinstance(card.inputs[name], Picture)
    alone = [isinstance(card.inputs[name], Picture) for name in default["inputs"]] == [True]
    assert ("encoded" in report.signatures) is alone
    if card.task == "generate":
        assert [*default["outputs"]] == ["image"]


@pytest.mark.parametrize(
    "card",
    [
        pytest.param(
            *one.values, id=one.id, marks=[*one.marks, *([] if one.id in ATTACKED else [pytest.mark.thorough])]
        )
        for one in map(param, CARDS)
    ],
)
def test_a_server_survives_requests_of_wrong_ranks_sizes_batches_and_values(card, stored, tmp_path):
    said = sent(stored(card).served().path, tmp_path)
    answered = {what for what, line in said.items() if line.startswith("answered")}
    assert answered == {what for what in said if what.endswith(": valid")}, said
    if card.name == WRITTEN:
        assert set(said) >= {f"text: source: {what}" for what in MALFORMED_TEXTS}
    assert all(line.startswith("refused") for what, line in said.items() if what not in answered), said


@pytest.mark.parametrize(("card", "_form"), [param(model_card(name), "served") for name in sorted(FILED)])
def test_a_file_is_answered_like_the_pixels_that_predict_reads_from_it(card, _form, stored, opened, tmp_path):
    path = tmp_path / "wide.jpg"
    Image.fromarray(PICTURE[:50]).save(path)
    served = stored(card).served()
    application = opened(served.path)
    example = task_of(card.task).read(application.facts, application.shapes, (path,), {})
    expected = application.call({name: array[None] for name, array in example.arrays.items()})
    (frame,) = example.frames.values()
    if card.task == "detect":
        assert frame.factors[0] == frame.factors[1] != 1
        expected["boxes"] /= np.tile(frame.factors[::-1], 2).astype("float32")
    if card.task == "segment":
        expected = {"mask": expected["logits"].argmax(axis=-1)}
    files = np.array([path.read_bytes()], dtype=object)
    _, (answer,) = run_saved_model(served.path, [Call("encoded", {"image_bytes": files})])
    assert answer.outputs.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(answer.outputs[name], array, rtol=1e-4, atol=1e-5)


def test_every_kind_of_input_is_attacked():
    assert ATTACKED <= REPRESENTATIVES
    kinds_of = {card.name: {type(kind) for kind in card.inputs.values()} for card in CARDS}
    assert set.union(*(kinds_of[name] for name in ATTACKED)) == set.union(*kinds_of.values())


@pytest.mark.thorough
@pytest.mark.parametrize("card", [param(card) for card in CARDS])
def test_a_second_runtime_agrees_with_the_saved_model(card, stored, all_runtimes):
    """Run OpenVINO, which reads the graph by itself; every other export here is verified without it."""
    with all_runtimes():
        report = export.verify_saved_model(stored(card).served().path)
    assert report.passed, report.checks
    assert report.runtimes[-1].runtime.startswith("OpenVINO")


@pytest.fixture(scope="module")
def live(stored):
    """Return a function from a card's name to its miniature in use, inputs of a user, and the answer; computed once."""

    def answered(name):
        made = stored(model_card(name))
        application = load(made.model, facts=made.facts)
        given = example_of(application)
        return application, given, application.predict(*given)

    return functools.cache(answered)


def of_forms(card):
    """Return parameters for the forms of a card; `test_registry.py` compares the `.keras` file of every card."""
    for form in ("keras", "served", "tflite"):
        one = param(card, form)
        marks = [pytest.mark.thorough] if form == "keras" and card.name != "SqueezeNet1_1" else []
        yield pytest.param(*one.values, id=one.id, marks=[*one.marks, *marks])


@pytest.mark.parametrize(("card", "form"), [one for card in CARDS for one in of_forms(card)])
def test_every_form_opens_and_agrees(card, form, stored, opened, live):
    made = stored(card)
    expected_application, given, expected = live(card.name)
    assert len({len(row) for row in expected.rows()}) == 1
    paths = {
        "keras": lambda: made.folder / "model.keras",
        "served": lambda: made.served().path,
        "tflite": lambda: made.phone().path,
    }
    application = opened(paths[form]())
    assert application.facts.card == card.name
    assert application.facts.inputs == expected_application.facts.inputs
    assert set(application.outputs) == set(expected_application.outputs)
    assert_agree(application.predict(*given).to_json(), expected.to_json())


@pytest.mark.parametrize(
    ("card", "quantize"), [param(card, quantize) for card in CARDS for quantize in precisions_of(card)]
)
def test_tflite(card, quantize, stored, tmp_path, write_once, monkeypatch):
    model, path = stored(card).model, tmp_path / "model.tflite"
    monkeypatch.setattr(tflite, "write_archive", write_once(card.name))
    calibration = calibration_of(model) if quantize == "int8" else None
    sizes = open_sizes(model)
    if quantize == "int8" and "int8" not in card.claims:
        with pytest.raises(export.ExportError, match=r"difference to Keras|LiteRT cannot run|TFLite conversion failed"):
            export.tflite(model, path, quantize="int8", calibration=calibration, sizes=sizes)
        assert not list(tmp_path.iterdir())
        return
    if quantize is None:
        report = stored(card).phone()
        path = report.path
    else:
        report = export.tflite(model, path, quantize=quantize, calibration=calibration, sizes=sizes)
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
