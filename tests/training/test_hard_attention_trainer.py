"""Tests of REINFORCE: its expectation against enumeration, its gradient against the released code's formula."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_segattn.attention import ShowAttendTell, captioner, drawing
from keras_segattn.decoding import BeamRules
from keras_segattn.training import HardAttentionTrainer

WORDS, LOCATIONS = 2, 3
TARGET, FOLLOWING = np.array([[1, 4]]), np.array([[4, 2]])


def hard(**changes):
    shape = (LOCATIONS, 4)
    settings = {"backbone": None, "input_shape": shape, "units": 5, "embedding": 4, "attention": "hard", "dropout": 0.0}
    model = ShowAttendTell(7, **settings | changes)
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(random.normal(0, 0.8, weight.shape))
    return model


def annotations(batch=1):
    return np.random.default_rng(1).normal(size=(batch, LOCATIONS, 4)).astype("float32")


def noise_for(locations):
    """Make noise with which these locations are drawn, whatever the weights are."""
    noise = np.full((1, len(locations), LOCATIONS), 1e-15, "float32")
    noise[0, np.arange(len(locations)), locations] = np.nextafter(1, 0, dtype="float32")
    return noise


def test_the_expected_gradient_is_that_of_the_expected_cost():
    model = hard()
    a, drawn = annotations(), np.array([True])
    graph = drawing(model)
    # The reward factor turns mean costs into sums. Without the entropy term, only the variational bound remains.
    trainer = HardAttentionTrainer(model, reward=WORDS, entropy=0.0)
    trainer.baseline.assign(0.7)  # the baseline does not change the expectation
    variables = [weight.value for weight in model.trainable_weights]

    def costs(outputs):
        log = tf.nn.log_softmax(outputs["logits"][0])
        return -(log[0, FOLLOWING[0, 0]] + log[1, FOLLOWING[0, 1]])

    with tf.GradientTape(persistent=True) as tape:
        expected, estimates = 0.0, []
        for locations in itertools.product(range(LOCATIONS), repeat=WORDS):
            outputs = graph({"annotations": a, "target": TARGET, "noise": noise_for(locations), "drawn": drawn})
            np.testing.assert_array_equal(outputs["choices"][0].numpy().argmax(axis=-1), locations)
            alpha = outputs["attention"][0]
            probability = alpha[0, locations[0]] * alpha[1, locations[1]]
            expected = expected + probability * costs(outputs)
            loss = trainer.compute_loss(y={"logits": FOLLOWING}, y_pred=outputs, training=False)
            estimates.append((tf.stop_gradient(probability), loss))
        mean = sum(probability * loss for probability, loss in estimates)
    exacts, estimates = (
        [tf.convert_to_tensor(g).numpy() for g in tape.gradient(y, variables, unconnected_gradients="zero")]
        for y in (expected, mean)
    )
    for variable, exact, estimate in zip(model.trainable_weights, exacts, estimates, strict=True):
        np.testing.assert_allclose(estimate, exact, rtol=1e-3, atol=1e-5, err_msg=variable.path)
    # The parameters of the attention get their gradient from the draws alone.
    assert np.abs(tape.gradient(mean, model.get_layer("decoder").cell.attention.attention.score_kernel.value)).max() > 0


def test_the_gradient_of_the_weights_is_the_released_code_s():
    trainer = HardAttentionTrainer(hard())
    trainer.baseline.assign(1.5)
    random = np.random.default_rng(0)
    alpha = tf.constant(random.dirichlet(np.ones(LOCATIONS), (2, WORDS)).astype("float32"))
    single = np.eye(LOCATIONS, dtype="float32")[random.integers(0, LOCATIONS, (1, WORDS))]
    choices = np.concatenate([single, alpha[1:].numpy()])  # no location is drawn for the second picture
    counts, mean_costs = np.array([[1, 1], [1, 0]], "float32"), np.array([2.0, 3.0], "float32")
    with tf.GradientTape() as tape:
        tape.watch(alpha)
        value = trainer.surrogate(alpha, choices, counts, mean_costs)
    expected = 0.002 * (np.log(alpha) + 1)
    expected[:1] += 0.1 * (2.0 - 1.5) * single / alpha[:1].numpy()
    np.testing.assert_allclose(tape.gradient(value, alpha), expected * counts[..., None], rtol=1e-5)


def test_without_draws_it_is_soft_attention():
    model, a = hard(), annotations(2)
    target = np.repeat(TARGET, 2, axis=0)
    soft = model({"annotations": a, "target": target})
    noise = np.random.default_rng(0).random((2, WORDS, LOCATIONS)).astype("float32")
    found = drawing(model)({"annotations": a, "target": target, "noise": noise, "drawn": np.array([False, True])})
    np.testing.assert_array_equal(found["logits"][0], soft["logits"][0])
    np.testing.assert_array_equal(found["choices"][0], found["attention"][0])
    assert set(np.unique(found["choices"][1])) == {0, 1}
    assert np.abs(found["logits"][1] - soft["logits"][1]).max() > 1e-3


def test_locations_are_drawn_as_often_as_their_weights_say():
    model = hard()
    batch = 4000
    noise = np.random.default_rng(0).random((batch, 1, LOCATIONS)).astype("float32")
    inputs = {"annotations": annotations().repeat(batch, axis=0), "target": np.ones((batch, 1), "int32")}
    found = drawing(model)(inputs | {"noise": noise, "drawn": np.ones(batch, bool)})
    # Four standard deviations of the mean of a batch; 0.5 is the largest standard deviation of one draw.
    limit = 4 * 0.5 / np.sqrt(batch)
    np.testing.assert_allclose(np.mean(found["choices"], axis=0), found["attention"][0], atol=limit)


@pytest.mark.thorough
def test_fit_lowers_the_cost_and_moves_the_baseline():
    keras.utils.set_random_seed(0)
    model, a = hard(), annotations(32)
    trainer = HardAttentionTrainer(model)
    trainer.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    words = np.where(a[:, :1, 0] > 0, 4, 5)
    inputs = {"annotations": a, "target": np.concatenate([np.ones((32, 1), int), words], axis=1)}
    following = np.concatenate([words, np.full((32, 1), 2)], axis=1)
    history = trainer.fit(inputs, {"logits": following}, batch_size=32, epochs=60, verbose=0).history
    assert history["cost"][-1] < 0.5 * history["cost"][0]
    assert float(trainer.baseline) > 0
    assert np.isfinite(history["loss"]).all()
    found = captioner(model, BeamRules(2, 4))(a)
    assert found["tokens"].shape == (32, 2, 4)


def test_batches_of_numpy_are_taken_on_every_backend():
    """JAX hands the batches of `fit` to `call` as they are."""
    trainer = HardAttentionTrainer(hard())
    found = trainer.call({"annotations": annotations(), "target": TARGET}, training=True)
    assert found["choices"].shape == (1, WORDS, LOCATIONS)


def test_other_models_are_refused():
    with pytest.raises(ValueError, match='expected a model with attention="hard"'):
        HardAttentionTrainer(hard(attention="additive"))
