"""Training of hard attention by REINFORCE (Xu et al., ICML 2015, section 4.1; Williams 1992)."""

from typing import Any

import keras
from keras import ops

from keras_segattn.attention.show_attend_tell import drawing

# Smallest attention weight in a logarithm, so that log 0 does not occur.
LEAST = 1e-20
# Values of the paper: decay of the moving baseline, and share of pictures for which locations are drawn.
DECAY, DRAWN = 0.9, 0.5


class HardAttentionTrainer(keras.Model):
    """Model that trains a captioner with hard attention by its variational bound; compile it and call `fit`.

    The words are trained by the gradient of their likelihood, given the drawn locations. The gradient for the attention
    weights α of a word is, as in the released code, `reward · (C − b) · s / α + entropy · (log α + 1)`, with the
    caption's mean cost C, a moving average b of C, and the drawn location s. For half of the pictures, no location is
    drawn, and the likelihood trains the attention weights as in soft attention.

    Args:
        model: captioner made by `ShowAttendTell(attention="hard")`; its weights are trained.
        reward: factor λr of the term of the drawn locations.
        entropy: factor λe of the entropy of the attention weights.
        seed: seed of the drawn locations.

    Call arguments:
        inputs: dict of the model's inputs.

    Output:
        dict of `logits`, `attention` and `choices`.

    Raises:
        ValueError: if the model has no hard attention.

    Example:
        >>> trainer = HardAttentionTrainer(model)
        >>> trainer.compile(keras.optimizers.Adam(2e-4), jit_compile=False)
        >>> trainer.fit(batches)  # pairs of {"image", "target"} and {"logits": the word after each word}
    """

    def __init__(self, model: keras.Model, reward: float = 0.1, entropy: float = 0.002, seed: int = 0) -> None:
        super().__init__(name=f"{model.name}_trainer")
        self.drawing = drawing(model)
        self.reward, self.entropy = reward, entropy
        self.seeds = keras.random.SeedGenerator(seed)
        self.baseline = self.add_weight(name="baseline", shape=(), initializer="zeros", trainable=False)
        self.cost = keras.metrics.Mean(name="cost")

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> dict[str, Any]:
        """Compute the outputs, with locations drawn for half of the pictures in training, for none in validation."""
        inputs = {name: ops.convert_to_tensor(value) for name, value in inputs.items()}
        batch, steps = ops.shape(inputs["target"])
        locations = self.drawing.output["attention"].shape[-1]
        noise = keras.random.uniform((batch, steps, locations), dtype="float32", seed=self.seeds)
        drawn = keras.random.uniform((batch,), dtype="float32", seed=self.seeds) < (DRAWN if training else 0.0)
        return self.drawing(inputs | {"noise": noise, "drawn": drawn}, training=training)

    def compute_loss(
        self,
        x: Any = None,  # noqa: ARG002
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,  # noqa: ARG002
        training: bool = True,
    ) -> Any:
        """Compute the cost of the captions, plus a term with the gradient for attention weights described above."""
        ids = y["logits"]
        counts = ops.cast(ops.not_equal(ids, 0), "float32")
        log = ops.log_softmax(ops.cast(y_pred["logits"], "float32"), axis=-1)
        log = ops.take_along_axis(log, ops.cast(ids, "int32")[..., None], axis=-1)[..., 0]
        costs = -ops.sum(log * counts, axis=1)
        mean_costs = costs / ops.maximum(ops.sum(counts, axis=1), 1.0)
        self.cost.update_state(costs)
        loss = ops.mean(costs) + self.surrogate(y_pred["attention"], y_pred["choices"], counts, mean_costs)
        if training:
            self.baseline.assign(DECAY * self.baseline + (1 - DECAY) * ops.mean(mean_costs))
        return loss

    def surrogate(self, attention: Any, choices: Any, counts: Any, mean_costs: Any) -> Any:
        """Compute the sum of `reward · (C − b) · log α[s]` and `entropy · α · log α` over all words."""
        attention, choices = ops.cast(attention, "float32"), ops.stop_gradient(ops.cast(choices, "float32"))
        log = ops.log(ops.maximum(attention, LEAST))
        # If no location was drawn, the choices are the attention weights themselves, and the first term is zero.
        single = ops.cast(ops.max(choices, axis=-1) == 1.0, "float32")
        drawn = single * ops.sum(log * choices, axis=-1)
        better = ops.stop_gradient(mean_costs - self.baseline)[:, None]
        plain = ops.sum(attention * log, axis=-1)
        return ops.sum(counts * (self.reward * better * drawn + self.entropy * plain))
