"""Searches against enumeration and against plain Python."""

import json
from dataclasses import asdict

import keras
import numpy as np
import pytest
from keras import ops
from search_models import BOS, EOS, VOCABULARY, Chain, every_sequence, keep, shrink

from keras_segattn.decoding import BeamRules, SamplingRules, beam_search, draw, sample_tokens

# Tolerance for float32 sums of a few log-probabilities.
TOLERANCE = 1e-5
EXAMPLES, LOCATIONS = 3, 3


def search(model, rules):
    states = [ops.repeat(model.start, rules.beams, axis=0)]
    found = beam_search(model.step, states, LOCATIONS, rules, VOCABULARY, BOS, EOS)
    return {name: np.asarray(value) for name, value in found.items()}


def hypotheses(found, example):
    tokens, lengths = found["tokens"][example], found["lengths"][example]
    return [tuple(map(int, row[:n])) for row, n in zip(tokens, lengths, strict=True)]


@pytest.mark.parametrize("finished", ["keep", "shrink"])
def test_a_beam_of_everything_finds_the_best_of_everything(finished):
    model = Chain()
    found = search(model, BeamRules(200, 3, finished))
    for example in range(EXAMPLES):
        best = sorted(((model.score(example, tokens), tokens) for tokens in every_sequence(3)), reverse=True)
        assert hypotheses(found, example)[: len(best)] == [tokens for _, tokens in best]
        np.testing.assert_allclose(
            found["scores"][example, : len(best)], [score for score, _ in best], rtol=TOLERANCE, atol=TOLERANCE
        )
        # There are no further hypotheses.
        assert (found["scores"][example, len(best) :] < -1e8).all()


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("finished", ["keep", "shrink"])
@pytest.mark.parametrize("beams", [1, pytest.param(2, marks=pytest.mark.thorough), 4])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"normalize": "length"},
        {"normalize": "gnmt", "alpha": 0.7},
        {"least": 2},
        {"forbidden": (3, 0)},
        {"coverage": 0.3, "normalize": "gnmt", "alpha": 0.9},
        {"length": 1},
    ],
    ids=str,
)
@pytest.mark.slow_on_jax
def test_the_published_rules(finished, beams, changes, seed):
    if finished == "shrink" and "coverage" in changes:
        pytest.skip("coverage is defined where hypotheses stay")
    rules = BeamRules(**{"beams": beams, "length": 6, "finished": finished} | changes)
    model = Chain(seed)
    found = search(model, rules)
    for example in range(EXAMPLES):
        expected = (keep if finished == "keep" else shrink)(model, example, rules)
        assert hypotheses(found, example)[: len(expected)] == [tokens for _, _, tokens, _ in expected]
        for name, column in (("scores", 0), ("log_probabilities", 1)):
            values = [hypothesis[column] for hypothesis in expected]
            np.testing.assert_allclose(found[name][example, : len(values)], values, rtol=TOLERANCE, atol=TOLERANCE)


def test_attention_goes_with_its_hypothesis():
    model = Chain()
    found = search(model, BeamRules(3, 6))
    for example in range(EXAMPLES):
        for beam, tokens in enumerate(hypotheses(found, example)):
            for time in range(6):
                expected = model.log_probabilities(example, tokens[:time])[1] if time < len(tokens) else 0
                np.testing.assert_allclose(found["attention"][example, beam, time], expected, atol=TOLERANCE)


def test_one_beam_is_greedy_search():
    model = Chain()
    found = search(model, BeamRules(1, 6))
    drawn = sample_tokens(
        model.step, [model.start], LOCATIONS, np.zeros((EXAMPLES, 6), "float32"), SamplingRules(6, 0.0), BOS, EOS
    )
    np.testing.assert_array_equal(found["tokens"][:, 0], drawn["tokens"])
    np.testing.assert_allclose(found["log_probabilities"][:, 0], drawn["log_probabilities"], rtol=TOLERANCE)
    np.testing.assert_allclose(found["attention"][:, 0], drawn["attention"], atol=TOLERANCE)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (SamplingRules(), [0.5, 0.25, 0.15, 0.1]),
        (SamplingRules(top_k=2), [2 / 3, 1 / 3, 0, 0]),
        (SamplingRules(nucleus=0.8), [0.5 / 0.9, 0.25 / 0.9, 0.15 / 0.9, 0]),
        (SamplingRules(nucleus=0.45), [1, 0, 0, 0]),
        (SamplingRules(forbidden=(0,)), [0, 0.5, 0.3, 0.2]),
        (SamplingRules(temperature=0.5), np.array([0.25, 0.0625, 0.0225, 0.01]) / 0.345),
    ],
    ids=str,
)
def test_tokens_are_drawn_as_often_as_they_should(rules, expected):
    noise = (np.arange(10000, dtype="float32") + 0.5) / 10000  # every quantile
    logits = np.broadcast_to(np.log(np.array([0.5, 0.25, 0.15, 0.1], "float32")), (len(noise), 4))
    drawn = np.asarray(draw(ops.convert_to_tensor(logits), ops.convert_to_tensor(noise), rules))
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / len(noise), expected, atol=2e-4)


def test_drawn_sequences_have_their_probability():
    model = Chain()
    noise = np.random.default_rng(0).random((EXAMPLES, 6)).astype("float32")
    drawn = sample_tokens(model.step, [model.start], LOCATIONS, noise, SamplingRules(6, nucleus=0.9), BOS, EOS)
    for example in range(EXAMPLES):
        tokens = [int(t) for t in np.asarray(drawn["tokens"])[example, : int(drawn["lengths"][example])]]
        expected = model.score(example, tokens)
        np.testing.assert_allclose(drawn["log_probabilities"][example], expected, rtol=TOLERANCE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beams": 0}, "beams must be a positive integer, received 0"),
        ({"finished": "drop"}, "finished must be one of 'keep', 'shrink', received 'drop'"),
        ({"least": 50}, r"least must be within 0\.\.49, received 50"),
        ({"coverage": 0.2, "finished": "shrink"}, "the coverage penalty is defined with"),
    ],
)
def test_wrong_rules_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        BeamRules(**settings)
    with pytest.raises(ValueError, match="nucleus must be above 0 and at most 1, received 0"):
        SamplingRules(nucleus=0)
    with pytest.raises(ValueError, match=r"forbidden tokens must be within 0\.\.4, received 5"):
        search(Chain(), BeamRules(2, 3, forbidden=(5,)))


def test_more_beams_than_tokens():
    found = search(Chain(), BeamRules(9, 2))
    assert (np.diff(found["scores"], axis=1) <= 0).all()
    assert keras.backend.standardize_dtype(found["tokens"].dtype) == "int32"


RULES_WITHOUT_EFFECT = [
    (BeamRules, {"alpha": 0.6}, 'alpha is the exponent of normalize="gnmt", received 0.6 with normalize=None'),
    (BeamRules, {"alpha": 0.6, "normalize": "length"}, "received 0.6 with normalize='length'"),
    (SamplingRules, {"temperature": 0, "top_k": 5}, "top_k and nucleus have no effect, received top_k=5"),
    (SamplingRules, {"temperature": 0.0, "nucleus": 0.9}, "received top_k=0 and nucleus=0.9"),
]


@pytest.mark.parametrize(("kind", "settings", "message"), RULES_WITHOUT_EFFECT)
def test_settings_without_effect_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**settings)


NUMBERS = {
    BeamRules: ("beams", "length", "alpha", "coverage", "least", "finished", "forbidden"),
    SamplingRules: ("length", "temperature", "top_k", "nucleus", "forbidden"),
}


NO_NUMBERS = (float("nan"), float("inf"), -1, 1.5, "1", None, True, (3.5,), (-1,), ("a",))


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, fields in NUMBERS.items() for field in fields])
def test_rules_that_are_no_numbers_are_refused(kind, field):
    gnmt = {"normalize": "gnmt"} if field == "alpha" else {}
    for value in NO_NUMBERS:
        if value != 1.5 or field not in ("alpha", "coverage", "temperature"):
            with pytest.raises(ValueError, match=f"{field} must be"):
                kind(**{field: value} | gnmt)


def test_numbers_of_numpy_become_python_s():
    rules = BeamRules(
        np.int64(3), np.int32(9), "keep", "gnmt", np.float64(0.5), least=np.int8(2), forbidden=(np.int64(3),)
    )
    assert json.loads(json.dumps(asdict(rules))) == asdict(BeamRules(3, 9, "keep", "gnmt", 0.5, 0.0, 2, (3,))) | {
        "forbidden": [3]
    }


@pytest.mark.parametrize("offset", [0.0, -3e9, 1e12])
def test_forbidden_tokens_lose_against_any_score(offset):
    logits = ops.convert_to_tensor(np.array([[4e9, 0.0, 1e9, 0.0]], "float32") + np.float32(offset))
    for rules in (SamplingRules(forbidden=(0,)), SamplingRules(forbidden=(0,), temperature=0)):
        assert int(draw(logits, ops.convert_to_tensor(np.float32([0.5])), rules)[0]) == 2
    with pytest.raises(ValueError, match=r"forbidden tokens must be within 0\.\.3, received 4"):
        draw(logits, ops.convert_to_tensor(np.float32([0.5])), SamplingRules(forbidden=(4,)))
    with pytest.raises(ValueError, match="all 4 tokens of the vocabulary are forbidden"):
        draw(logits, ops.convert_to_tensor(np.float32([0.5])), SamplingRules(forbidden=(0, 1, 2, 3)))


@pytest.mark.parametrize("finished", ["keep", "shrink"])
def test_searches_take_the_best_of_any_scores(finished):
    """Log-probabilities of −1e10 and below are real, unlike those of forbidden tokens and missing hypotheses."""
    model = Chain()
    for part in (model.table, model.seen, model.start):
        np.multiply(part, 1e10, out=part)
    rules = BeamRules(3, 4, finished, least=1, forbidden=(3,))
    found = search(model, rules)
    for example in range(EXAMPLES):
        expected = (keep if finished == "keep" else shrink)(model, example, rules)
        values = [hypothesis[1] for hypothesis in expected]
        np.testing.assert_allclose(found["log_probabilities"][example, : len(values)], values, rtol=TOLERANCE)
        assert not (found["tokens"][example, : len(values)] == 3).any()


def test_the_greatest_noise_draws_no_excluded_token():
    logits = ops.convert_to_tensor(np.log(np.array([[0.3, 0.3, 0.3, 0.1]], "float32")))
    for rules in (SamplingRules(forbidden=(2,)), SamplingRules(nucleus=0.5)):
        assert int(draw(logits, ops.convert_to_tensor(np.float32([1.0])), rules)[0]) in (0, 1, 3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_draws_are_as_exact_in_half_precision(dtype):
    """In half precision, sums of the probabilities of 199 rare tokens would stop below the hundredth that they have."""
    logits = np.full((1, 200), np.log(0.01 / 199), "float32")
    logits[0, 0] = np.log(0.99)
    half = ops.cast(logits, dtype)
    shares = np.exp(np.asarray(ops.log_softmax(ops.cast(half, "float32"))))[0]
    noise = (np.arange(10000, dtype="float32") + 0.5) / 10000
    drawn = np.asarray(draw(ops.broadcast_to(half, (len(noise), 200)), noise, SamplingRules()))
    assert (drawn == 0).mean() == pytest.approx(shares[0], abs=2e-4)
