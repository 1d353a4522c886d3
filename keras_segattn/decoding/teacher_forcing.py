"""Training of a decoder: teacher forcing, and scheduled sampling (Bengio et al., NIPS 2015, arXiv 1506.03099)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from keras_segattn import graph
from keras_segattn.arguments import is_number
from keras_segattn.decoding.decoder import Decoder, DecoderLoop, masked
from keras_segattn.decoding.drawing import SamplingRules, draw
from keras_segattn.decoding.endpoints import sequence_endpoints
from keras_segattn.endpoints import Endpoint, EndpointLayer
from keras_segattn.fields import Field, Tokens
from keras_segattn.layers.projected_rnn import Steps


@keras.saving.register_keras_serializable(package="keras_segattn")
class TeacherForcing(DecoderLoop, EndpointLayer):
    """Runs a decoder over the right tokens of sentences, for training, and gives the model the decoder's endpoints.

    A model that holds this layer writes sentences like a built-in one: `save`, `load`, the exporters and the command
    `segattn` find the decoder here, and offer the endpoints of `sequence_endpoints`. The model's input of the target
    must be called `target`, and its output must hold `logits`. It replaces `tfa.seq2seq.BasicDecoder` with a
    `TrainingSampler` or, with a `sampling_probability`, with a `ScheduledEmbeddingTrainingSampler`.

    Layers of a model that was trained in another loop, such as `layers.AttentionRNN`, can be put together anew:
    `keras.Model(model.input, TeacherForcing(decoder)(encoded, model.input["target"]))`. The dropout of a cell is drawn
    anew at every step here, but once per sentence in `layers.AttentionRNN`.

    Args:
        decoder: decoder that predicts the next token.
        sampling_probability: probability, in training, that a step reads a token drawn from the predictions of the step
            before instead of the right one (scheduled sampling). Each example and each step but the first draws for
            itself. The number is the first value of the weight `sampling_probability`, which a callback can `assign`.
            `None` is teacher forcing without such a weight.
        seed: seed of the draws; `None` takes one from Keras' global seed.

    Call arguments:
        encoded: dict of tensors of one batch, which the decoder's `start` reads. If it has no `mask`, the mask that
            Keras attaches to its `annotations` is added; Keras passes it as the argument `encoded_mask`.
        target: int32 `(batch, T)`, the token that begins a sentence, then the sentence.
        training: whether tokens are drawn by the `sampling_probability`.

    Output:
        dict `logits` float32 `(batch, T, vocabulary)` of the token that follows each of `target`, and `attention`
        float32 `(batch, T, L)`. As in TensorFlow Addons, no gradient flows through a draw.

    Raises:
        TypeError, ValueError: if an argument is wrong.

    Example:
        >>> forcing = TeacherForcing(decoder, sampling_probability=0.0)
        >>> model = keras.Model({"source": source, "target": target}, forcing(encoded, target))
        >>> raise_it = lambda epoch, logs: forcing.sampling_probability.assign(min(0.05 * epoch, 0.25))
        >>> model.fit(batches, epochs=10, callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=raise_it)])
    """

    task: ClassVar[str] = "write"

    def __init__(
        self, decoder: Decoder, sampling_probability: float | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(decoder, **kwargs)
        known = is_number(sampling_probability) and 0 <= sampling_probability <= 1
        if sampling_probability is not None and not known:
            raise ValueError(
                f"sampling_probability must be a number from 0 to 1 or None, received {sampling_probability!r}"
            )
        self.first_probability, self.seed = sampling_probability, seed
        self.seeds = None if sampling_probability is None else keras.random.SeedGenerator(seed)

    def build(self, encoded_shape: dict[str, Any], target_shape: tuple[int | None, ...]) -> None:
        """Make the weights of the decoder's layers, and that of the probability."""
        if len(target_shape) != 2:
            raise ValueError(f"target must be ids (batch, T), received the shape {tuple(target_shape)}")
        self.decoder.build_layers(encoded_shape)
        if self.first_probability is not None:
            self.sampling_probability = self.add_weight(
                name="sampling_probability",
                shape=(),
                dtype="float32",
                initializer=keras.initializers.Constant(self.first_probability),
                trainable=False,
            )

    def call(
        self, encoded: dict[str, Any], target: Any, encoded_mask: Any = None, training: bool = False
    ) -> dict[str, Any]:
        """Run the decoder, and return the dict described above."""
        states, memory = self.decoder.start(masked(encoded, (encoded_mask or {}).get("annotations")), 1)
        sampled = training and self.seeds is not None
        target = ops.cast(target, "int32")
        inputs = target[..., None]
        if sampled:
            noise = keras.random.uniform((2, *ops.shape(target)), dtype="float32", seed=self.seeds)
            drawn = ops.cast(noise[0] < self.sampling_probability, "float32")
            drawn = drawn * ops.cast(ops.arange(ops.shape(target)[1]) > 0, "float32")
            # Keras' loop reads one tensor; float32 holds the ids of 16 million tokens exactly.
            inputs = ops.stack([ops.cast(target, "float32"), drawn, noise[1]], axis=-1)
            states = [*states, target[:, 0]]

        def step(inputs: Any, states: Any) -> tuple[Any, list[Any]]:
            tokens, before = ops.cast(inputs[:, 0], "int32"), list(states)
            if sampled:
                tokens = ops.where(inputs[:, 1] > 0, before.pop(), tokens)
            logits, weights, new = self.decoder.step(tokens, before, memory)
            logits, weights = ops.cast(logits, "float32"), ops.cast(weights, "float32")
            new = [ops.cast(state, old.dtype) for state, old in zip(new, before, strict=True)]  # as JAX's loop requires
            new = [*new, draw(logits, inputs[:, 2], SamplingRules())] if sampled else new
            return ops.concatenate([logits, weights], axis=-1), new

        loop = keras.layers.RNN(Steps(step, [1] * len(states)), return_sequences=True, name=self.name)
        _, joined, _ = loop.inner_loop(inputs, states, None)
        vocabulary = self.decoder.vocabulary
        return {"logits": joined[..., :vocabulary], "attention": joined[..., vocabulary:]}

    def compute_output_spec(
        self,
        encoded: dict[str, Any],
        target: Any,
        encoded_mask: Any = None,  # noqa: ARG002
        training: bool = False,  # noqa: ARG002
    ) -> dict[str, keras.KerasTensor]:
        """Return the shapes of logits and attention of T steps."""
        batch, steps = target.shape
        locations = self.decoder.sizes(encoded)[1]
        return {
            "logits": keras.KerasTensor((batch, steps, self.decoder.vocabulary), dtype="float32"),
            "attention": keras.KerasTensor((batch, steps, locations), dtype="float32"),
        }

    def kinds(self, model: keras.Model) -> dict[str, Field]:
        """Return the kind of the target; those of other inputs are seen in the model."""
        target = graph.arguments_of(model, self)["target"]
        return {target.name: Tokens(target.name, self.decoder.vocabulary, target=True)}

    def endpoints(self, model: keras.Model, options: Mapping[str, Any]) -> Mapping[str, Endpoint]:
        """Return the endpoints of a model that holds this layer; see `sequence_endpoints`."""
        encoded = graph.arguments_of(model, self)["encoded"]
        return sequence_endpoints(model, self.decoder, encoded, options)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild the layer."""
        return super().get_config() | {"sampling_probability": self.first_probability, "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TeacherForcing":
        """Restore the layer with its decoder."""
        return cls(**config | {"decoder": keras.saving.deserialize_keras_object(config["decoder"])})
