"""Sequence models in a server's folder: what C clients get, and what a text or a picture becomes."""

import shutil

import keras
import numpy as np
import pytest
from keras_segattn.export.libtensorflow import Call, run_saved_model
from keras_segattn.exported_sequences import load_writer
from keras_segattn.preprocessing import IMAGENET
from PIL import Image
from sequence_exports import LETTERS, RULES, WORDS

from keras_segattn import export, preprocessing_of
from keras_segattn.attention import RNNSearch, captioner, translator
from keras_segattn.data import Vocabulary

# One worker exports what these tests and those of the commands read.
pytestmark = pytest.mark.xdist_group("sequences")
SIGNATURES = {"serving_default", "decode_beam", "decode_greedy", "encode", "step", "score"}


@pytest.mark.parametrize("name", ["speller", "describer"])
def test_every_signature_is_measured_in_the_c_api(written_models, name):
    _, report = written_models[name]
    assert report.passed
    assert set(report.signatures) == SIGNATURES
    assert report.path == written_models["folder"] / name / "1"
    ran = {result.runtime for result in report.runtimes}
    assert {f"libtensorflow 2.21.0 {signature}" for signature in SIGNATURES} <= ran
    assert (written_models["folder"] / "models.config").read_text().count(f'name: "{name}"') == 1


def test_a_c_client_gets_keras_s_tokens_for_any_batch(written_models):
    model, report = written_models["speller"]
    random = np.random.default_rng(3)
    for batch, length in ((1, 3), (37, 6)):
        source = random.integers(4, len(LETTERS), (batch, length)).astype("int32")
        source[:, -1] = 2
        _, (answer,) = run_saved_model(report.path, [Call("decode_beam", {"source": source})])
        expected = translator(model, RULES)(source)
        np.testing.assert_array_equal(answer.outputs["tokens"], expected["tokens"])
        np.testing.assert_allclose(answer.outputs["scores"], expected["scores"], atol=1e-5)


def test_a_text_becomes_translations_with_a_row_of_attention_for_every_word(written_models):
    model, report = written_models["speller"]
    writer = load_writer(report.path)
    assert writer.split("Éd a") == ["é", "d", "a", "<eos>"]
    found = writer.translate("Bad")
    expected = translator(model, RULES)(np.array([[*LETTERS.encode("bad"), 2]]))
    assert [one.tokens for one in found] == [WORDS.decode(ids) for ids in np.asarray(expected["tokens"])[0]]
    np.testing.assert_allclose([one.score for one in found], expected["scores"][0], atol=1e-5)
    for one in found:
        assert one.words == [*one.tokens, "<eos>"][:5]
        assert one.attention.shape == (len(one.words), 4)
        np.testing.assert_allclose(one.attention.sum(axis=1), 1, atol=1e-5)


def test_a_picture_of_any_size_becomes_captions(written_models):
    model, report = written_models["describer"]
    writer = load_writer(report.path)
    picture = np.random.default_rng(0).integers(0, 256, (50, 90, 3)).astype("uint8")
    found = writer.describe(picture)
    scaled = np.asarray(Image.fromarray(picture).resize((48, 64), Image.Resampling.BILINEAR))[None]
    expected = captioner(model, RULES)(preprocessing_of(model)(scaled))
    assert [one.tokens for one in found] == [WORDS.decode(ids) for ids in np.asarray(expected["tokens"])[0]]
    assert writer.grid(found[0].attention.shape[1]) == (3, 2)
    assert writer._replace(size=(100, 300)).grid(48) == (4, 12)
    with pytest.raises(ValueError, match="reads no text"):
        writer.translate("bad")


def test_words_are_split_at_white_space_and_keep_their_case(written_models):
    writer = load_writer(written_models["speller"][1].path)
    assert writer._replace(source=Vocabulary(["Hund", "a"])).split(" Hund  a x") == ["Hund", "a", "x", "<eos>"]
    for text in ("", "  "):
        with pytest.raises(ValueError, match="expected a text"):
            writer.translate(text)
    with pytest.raises(ValueError, match="looks at no pictures"):
        writer.describe(np.zeros((4, 4, 3), "uint8"))


def test_what_cannot_be_exported_leaves_nothing_behind(tmp_path):
    model = RNNSearch(9, 8, units=4, embedding=3, maxout=2, alignment=4)
    words = {"source": Vocabulary("abcde"), "target": Vocabulary("abcd")}
    with pytest.raises(ValueError, match=r"sizes {'target': 8, 'source': 9}, received {'target': 8}"):
        export.saved_sequences(model, tmp_path / "a", vocabularies={"target": words["target"]})
    with pytest.raises(ValueError, match=r"received {'source': 8, 'target': 8}"):
        export.saved_sequences(model, tmp_path / "a", vocabularies=words | {"source": words["target"]})
    with pytest.raises(ValueError, match="name must be letters"):
        export.saved_sequences(model, tmp_path / "a", vocabularies=words, name="a b")
    with pytest.raises(ValueError, match="preprocessing is of pictures"):
        export.sequence_endpoints(model, preprocessing=IMAGENET)
    model.get_layer("logits").bias.assign(np.full(8, np.nan))
    with pytest.raises(export.ExportError, match="NaN"):
        export.saved_sequences(model, tmp_path / "a", vocabularies=words)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_other_saved_models_are_refused(written_models, tmp_path):
    folder = tmp_path / "1"
    shutil.copytree(written_models["speller"][1].path, folder)
    (folder / "assets.extra" / "source.txt").unlink()
    with pytest.raises(ValueError, match=r"expected a vocabulary source\.txt"):
        load_writer(folder)
    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        "serve", lambda x: x + 1.0, input_signature=[keras.InputSpec(shape=(None, 2), dtype="float32")]
    )
    archive.write_out(str(tmp_path / "other"), verbose=False)
    with pytest.raises(ValueError, match="writes no sentences"):
        load_writer(tmp_path / "other")
