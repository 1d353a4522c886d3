"""Sample weights of losses that sum inside: one per example or one per element, never paired by accident."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_segattn.losses import DoublyStochastic, SequenceCrossEntropy, SigmoidFocalCrossEntropy

SHAPES = [(5, 5), (1, 5), (3, 5), (3, 1), (1, 1)]


def sentences(batch, steps, words=7):
    random = np.random.default_rng(batch * 10 + steps)
    ids = random.integers(1, words, (batch, steps))
    ids[:, 2:][random.random((batch, max(0, steps - 2))) < 0.4] = 0
    return ids, random.normal(size=(batch, steps, words)).astype("float32"), random.random((batch, steps), "float32")


def of_tokens(ids, logits):
    log = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -np.take_along_axis(log, ids[..., None], -1)[..., 0] * (ids != 0)


@pytest.mark.parametrize(("batch", "steps"), SHAPES)
def test_token_weights(batch, steps):
    ids, logits, weights = sentences(batch, steps)
    loss, each = SequenceCrossEntropy(), of_tokens(ids, logits)
    for given, expected in (
        (weights, (each * weights).sum() / batch),
        (weights[..., None], (each * weights).sum() / batch),
        (weights[:, 0], (each.sum(1) * weights[:, 0]).sum() / batch),
        (weights[:, :1], (each.sum(1) * weights[:, 0]).sum() / batch),
        (0.5, 0.5 * each.sum() / batch),
        (None, each.sum() / batch),
    ):
        assert float(loss(ids, logits, given)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("batch", "steps"), SHAPES)
def test_an_implicit_mask_does_not_change_the_losses_of_sentences(batch, steps):
    ids, logits, weights = sentences(batch, steps)
    masked = ops.convert_to_tensor(logits)
    expected = float(SequenceCrossEntropy()(ids, masked, weights))
    attention = ops.softmax(masked)
    penalty = float(DoublyStochastic()(ids, attention, weights[:, 0]))
    for tensor in (masked, attention):
        keras.src.backend.set_keras_mask(tensor, ops.convert_to_tensor(ids != 0))
    assert float(SequenceCrossEntropy()(ids, masked, weights)) == expected
    assert float(DoublyStochastic()(ids, attention, weights[:, 0])) == penalty


LOSSES = {
    "sequence_cross_entropy": (SequenceCrossEntropy(), lambda ids, logits: (ids, logits), r"\(5,\) or \(5, 4\)"),
    "doubly_stochastic": (DoublyStochastic(), lambda ids, logits: (ids, logits), r"\(5,\)"),
    "sigmoid_focal_crossentropy": (
        SigmoidFocalCrossEntropy(from_logits=True),
        lambda _, logits: ((logits > 0).astype("float32"), logits),
        r"\(5,\) or \(5, 4\)",
    ),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(4,), (1, 4), (4, 5), (5, 4, 7), (5, 3), (5, 1, 4), (0,)])
def test_weights_of_another_shape_are_refused_with_the_shapes(name, shape):
    loss, labelled, expected = LOSSES[name]
    ids, logits, _ = sentences(5, 4)
    with pytest.raises(ValueError, match=rf"^{name} expects sample weights {expected}, received"):
        loss(*labelled(ids, logits), np.ones(shape, "float32"))


def test_weights_per_caption_scale_its_penalty():
    ids, logits, weights = sentences(3, 5)
    attention = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    each = ((1 - (attention * (ids != 0)[..., None]).sum(1)) ** 2).sum(-1)
    for given in (weights[:, 0], weights[:, :1]):
        assert float(DoublyStochastic()(ids, attention, given)) == pytest.approx(
            (each * weights[:, 0]).mean(), rel=1e-5
        )
    with pytest.raises(ValueError, match=r"expects sample weights \(3,\), received \(3, 5\)"):
        DoublyStochastic()(ids, attention, weights)


@pytest.mark.parametrize("shape", [(4, 3), (3, 3), (1, 3)])
def test_focal_losses_take_weights_per_loss_or_per_example(shape):
    random = np.random.default_rng(0)
    y, logits = random.integers(0, 2, (*shape, 6)).astype("float32"), random.normal(size=(*shape, 6)).astype("float32")
    loss, weights = SigmoidFocalCrossEntropy(from_logits=True), random.random(shape, "float32")
    each = np.asarray(loss(y, logits))
    np.testing.assert_allclose(loss(y, logits, weights), each * weights, rtol=1e-6)
    np.testing.assert_allclose(loss(y, logits, weights[:, 0]), each * weights[:, :1], rtol=1e-6)


@pytest.mark.parametrize("per_token", [True, False])
def test_token_weights_reach_the_loss_through_fit(per_token):
    ids, logits, weights = sentences(4, 5)
    x = keras.Input((5, 7))
    model = keras.Model(x, {"logits": keras.layers.Identity(name="logits")(x)})
    model.compile("sgd", {"logits": SequenceCrossEntropy()}, jit_compile=False)
    given = weights if per_token else weights[:, 0]
    found = model.evaluate(logits, {"logits": ids}, sample_weight={"logits": given}, batch_size=4, verbose=0)
    wide = weights if per_token else weights[:, :1]
    assert found == pytest.approx((of_tokens(ids, logits) * wide).sum() / 4, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_logits_of_minus_infinity_do_not_count_in_padding(smoothing):
    ids, logits, weights = sentences(3, 5)
    never = logits.copy()
    never[ids == 0] = [0.0, *[-np.inf] * 6]  # as if only padding could follow
    impossible = np.where((ids == 0)[..., None], np.roll(never, 1, axis=-1), logits)
    loss = SequenceCrossEntropy(smoothing)
    for given in (never, impossible):
        assert float(loss(ids, given, weights)) == pytest.approx(float(loss(ids, logits, weights)))
    unweighted = np.where(ids == 0, np.nan, weights)
    assert float(loss(ids, logits, unweighted)) == pytest.approx(float(loss(ids, logits, weights)))
    attention = np.where((ids == 0)[..., None], np.nan, logits)
    assert float(DoublyStochastic()(ids, attention)) == pytest.approx(float(DoublyStochastic()(ids, logits)))


@pytest.mark.parametrize("wrong", [-1, 7, 10**6])
def test_ids_outside_the_vocabulary_are_no_other_word(wrong):
    ids, logits, _ = sentences(3, 5)
    loss = float(SequenceCrossEntropy()(ids, logits))
    ids[1, 0] = wrong
    assert np.isnan(float(SequenceCrossEntropy()(ids, logits)))
    assert float(SequenceCrossEntropy(padding=-100)(np.where(ids == 0, -100, ids)[::2], logits[::2])) == pytest.approx(
        float(SequenceCrossEntropy()(ids[::2], logits[::2]))
    )
    assert float(SequenceCrossEntropy()(ids, logits, np.float32([1, 0, 1]))) < 3 * loss


@pytest.mark.parametrize("floatx", ["float16", "bfloat16"])
def test_losses_of_sentences_are_float32_whatever_keras_default_is(floatx):
    random = np.random.default_rng(0)
    ids, logits = random.integers(1, 700, (3, 5)), random.normal(size=(3, 5, 700)).astype("float32")
    losses = [(SequenceCrossEntropy(), logits), (DoublyStochastic(), abs(logits))]
    expected = [float(loss(ids, given)) for loss, given in losses]
    keras.config.set_floatx(floatx)
    try:
        found = [float(type(loss)()(ids, given)) for loss, given in losses]
    finally:
        keras.config.set_floatx("float32")
    assert found == expected


@pytest.mark.parametrize("loss", [SequenceCrossEntropy(), DoublyStochastic()])
def test_empty_batches_cost_nothing(loss):
    ids, logits, weights = sentences(3, 5)
    assert float(loss(ids[:0], logits[:0])) == float(loss(ids[:0], logits[:0], weights[:0, 0])) == 0.0
    with pytest.raises(ValueError, match=r"expects ids \(batch, T\) and .*, received \(3, 1\) and \(3, 5, 7\)"):
        loss(ids[:, :1], logits)
