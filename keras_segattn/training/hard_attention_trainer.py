"""Training of hard attention by REINFORCE (Xu et al., ICML 2015, section 4.1; Williams 1992)."""

from typing import Any

import keras
from keras import ops

from keras_segattn.attention.show_attend_tell import drawing
from keras_segattn.losses.sample_weights import fitted_weights
from keras_segattn.training.trainer import Trainer

# Smallest attention weight in a logarithm, so that log 0 does not occur.
LEAST = 1e-20
# Values of the paper: decay of the moving baseline, and share of pictures for which locations are drawn.
DECAY, DRAWN = 0.9, 0.5


@keras.saving.register_keras_serializable(package="keras_segattn")
class HardAttentionTrainer(Trainer):
    """Model that trains a captioner with hard attention by its variational bound; compile it and call `fit`.

    The words are trained by the gradient of their likelihood, given the drawn locations. The gradient for the attention
    weights α of a word is, as in the released code, `reward · (C − b) · s / α + entropy · (log α + 1)`, with the
    caption's mean cost C, a moving average b of C, and the drawn location s. For half of the pictures, no location is
    drawn, and the likelihood trains the attention weights as in soft attention. Sample weights, `(batch,)` or
    `(batch, T)`, multiply all terms of a caption or of a word; captions of weight 0 do not count in b either.

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
        ValueError: if the model has no hard attention, or sample weights are of another shape.

    Example:
        >>> trainer = HardAttentionTrainer(model)
        >>> trainer.compile(keras.optimizers.Adam(2e-4), jit_compile=False)
        >>> trainer.fit(batches)  # pairs of {"image", "target"} and {"logits": the word after each word}
    """

    weighted = True
    measured = True

    def __init__(self, model: keras.Model, reward: float = 0.1, entropy: float = 0.002, seed: int = 0) -> None:
        super().__init__(name=f"{model.name}_trainer")
        self.drawing, self.captioner = drawing(model), model
        self.reward, self.entropy, self.seed = reward, entropy, seed
        self.seeds = keras.random.SeedGenerator(seed)
        self.baseline = self.add_weight(name="baseline", shape=(), initializer="zeros", trainable=False)
        self.cost = keras.metrics.Mean(name="cost")
        self.built = True

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
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Compute the cost of the captions, plus a term with the gradient for attention weights described above."""
        ids = y["logits"]
        counts = ops.cast(ops.not_equal(ids, 0), "float32")
        if isinstance(sample_weight, dict) and set(sample_weight) - {"logits", "attention", "choices"}:
            raise ValueError(f"expected sample weights of logits, received those of {sorted(sample_weight)}")
        weight = sample_weight.get("logits") if isinstance(sample_weight, dict) else sample_weight
        if weight is not None:
            counts = counts * ops.cast(fitted_weights(type(self).__name__, weight, ops.shape(ids)), "float32")
        log = ops.log_softmax(ops.cast(y_pred["logits"], "float32"), axis=-1)
        log = ops.take_along_axis(log, ops.cast(ids, "int32")[..., None], axis=-1)[..., 0]
        # `where` besides the product, because the logit of padding may be -inf.
        costs = -ops.sum(ops.where(ops.equal(counts, 0), 0, log) * counts, axis=1)
        weights = ops.sum(counts, axis=1)
        mean_costs = costs / ops.where(weights > 0, weights, 1.0)
        self.cost.update_state(costs)
        loss = ops.mean(costs) + self.surrogate(y_pred["attention"], y_pred["choices"], counts, mean_costs)
        if training:
            captions = ops.sum(ops.cast(weights > 0, "float32"))
            mean = ops.sum(mean_costs) / ops.maximum(captions, 1.0)
            moved = DECAY * self.baseline + (1 - DECAY) * mean
            self.baseline.assign(ops.where(captions > 0, moved, ops.convert_to_tensor(self.baseline)))
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Compute the metrics of the outputs that have targets; the drawn locations have none.

        Raises:
            ValueError: if a metric was compiled for an output without targets.
        """
        missing = sorted(set(self.measured_outputs) & set(y_pred) - set(y))
        if missing:
            raise ValueError(f"expected metrics of outputs that have targets, {sorted(y)}, received some of {missing}")
        # Keras needs an entry for every output.
        targets = {name: y.get(name) for name in y_pred}
        if isinstance(sample_weight, dict):
            sample_weight = {name: sample_weight.get(name) for name in y_pred}
        return super().compute_metrics(x, targets, y_pred, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the trainer."""
        model = keras.saving.serialize_keras_object(self.captioner)
        return {"model": model, "reward": self.reward, "entropy": self.entropy, "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "HardAttentionTrainer":
        """Rebuild the trainer with its model."""
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects)
        return cls(**config | {"model": model})

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
