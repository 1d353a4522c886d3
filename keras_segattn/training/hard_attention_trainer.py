"""Training of hard attention by REINFORCE (Xu et al., ICML 2015, section 4.1; Williams 1992)."""

from typing import Any

import keras
from keras import ops

from keras_segattn.attention.show_attend_tell import drawing

# Log of nothing.
LEAST = 1e-20
# Of the paper: how slowly the baseline moves, and for how many pictures locations are drawn.
DECAY, DRAWN = 0.9, 0.5


class HardAttentionTrainer(keras.Model):
    """A captioner with hard attention and its variational bound, to be compiled with an optimizer and fitted.

    The gradient for the words is that of the likelihood with the locations drawn. The gradient for the weights α of a
    word is, as in the released code, `reward · (C − b) · s / α + entropy · (log α + 1)` with the caption's mean cost C,
    a moving average b of it, and the location drawn s. For half of the pictures nothing is drawn, and the likelihood
    trains the weights as in soft attention.

    Args:
        model: made by `ShowAttendTell(attention="hard")`; its weights are trained.
        reward: λr.
        entropy: λe.
        seed: of the draws.

    Call arguments:
        inputs: dict of the model's inputs.

    Output:
        dict `logits`, `attention` and `choices`.

    Raises:
        ValueError: if the model has no hard attention.

    Example:
        >>> trainer = HardAttentionTrainer(model)
        >>> trainer.compile(keras.optimizers.Adam(2e-4), jit_compile=False)
        >>> trainer.fit(batches)  # of ({"image", "target"}, {"logits": what follows each word})
    """

    def __init__(self, model: keras.Model, reward: float = 0.1, entropy: float = 0.002, seed: int = 0) -> None:
        super().__init__(name=f"{model.name}_trainer")
        self.drawing = drawing(model)
        self.reward, self.entropy = reward, entropy
        self.seeds = keras.random.SeedGenerator(seed)
        self.baseline = self.add_weight(name="baseline", shape=(), initializer="zeros", trainable=False)
        self.cost = keras.metrics.Mean(name="cost")

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> dict[str, Any]:
        """The outputs with locations drawn: in validation for none."""
        batch, steps = ops.shape(inputs["target"])
        locations = self.drawing.output["attention"].shape[-1]
        noise = keras.random.uniform((batch, steps, locations), seed=self.seeds)
        drawn = keras.random.uniform((batch,), seed=self.seeds) < (DRAWN if training else 0.0)
        return self.drawing(inputs | {"noise": noise, "drawn": drawn}, training=training)

    def compute_loss(
        self,
        x: Any = None,  # noqa: ARG002
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,  # noqa: ARG002
        training: bool = True,
    ) -> Any:
        """Cost of the captions, and a function whose gradient for the weights is the one above."""
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
        """Σ of `reward · (C − b) · log α[s]` and `entropy · α · log α` over all words."""
        attention, choices = ops.cast(attention, "float32"), ops.stop_gradient(ops.cast(choices, "float32"))
        log = ops.log(ops.maximum(attention, LEAST))
        # Where nothing was drawn the choice is the weights themselves, and the first term's gradient is nothing.
        single = ops.cast(ops.max(choices, axis=-1) == 1.0, "float32")
        drawn = single * ops.sum(log * choices, axis=-1)
        better = ops.stop_gradient(mean_costs - self.baseline)[:, None]
        plain = ops.sum(attention * log, axis=-1)
        return ops.sum(counts * (self.reward * better * drawn + self.entropy * plain))
