"""Searches as layers of a functional model, which are saved, served and converted with the model."""

from dataclasses import asdict
from typing import Any

import keras
import numpy as np

from keras_segattn.arguments import is_integer
from keras_segattn.decoding.beam_search import BeamRules, beam_search, check_forbidden
from keras_segattn.decoding.decoder import Decoder, DecoderLoop, masked
from keras_segattn.decoding.drawing import SamplingRules, sample_tokens


class Search(DecoderLoop):
    """Base of the searches: a decoder, and the ids of the tokens before the first and after the last."""

    kind: type[Any]  # class of the rules

    def __init__(self, decoder: Decoder, bos: int, eos: int, rules: Any, **kwargs: Any) -> None:
        super().__init__(decoder, **kwargs)
        for name, token in (("bos", bos), ("eos", eos)):
            if not is_integer(token) or not 0 <= token < decoder.vocabulary:
                raise ValueError(f"{name} must be an id within 0..{decoder.vocabulary - 1}, received {token!r}")
        if not isinstance(rules, self.kind):
            raise TypeError(f"rules must be {self.kind.__name__}, received {rules!r}")
        check_forbidden(rules.forbidden, decoder.vocabulary)
        self.bos, self.eos, self.rules = int(bos), int(eos), rules

    def check_values(self, encoded: dict[str, Any], noise: Any = None) -> None:
        """Raise `ValueError` if tensors differ in their batch, are not finite, or noise is outside [0, 1).

        In a graph, where values are unknown, only the sizes are checked.
        """
        given = encoded if noise is None else encoded | {"noise": noise}
        batches = {name: tensor.shape[0] for name, tensor in given.items() if tensor.shape[0] is not None}
        if len(set(batches.values())) > 1:
            raise ValueError(f"expected tensors of equal batches, received {batches}")
        for name, tensor in given.items():
            try:
                values = keras.ops.convert_to_numpy(tensor)
            except (NotImplementedError, TypeError):  # a symbolic tensor of TensorFlow, a tracer of JAX
                return
            if values.dtype.kind == "f":
                wrong = ~np.isfinite(values)
                expected, found = f"finite {name}", "NaN or infinity"
                if name == "noise":
                    wrong |= (values < 0) | (values > 1)  # rounding to float32 may make a 1
                    expected, found = "noise in [0, 1)", "other numbers"
                examples = np.flatnonzero(wrong.any(axis=tuple(range(1, values.ndim)))).tolist()
                if examples:
                    raise ValueError(f"expected {expected}, received {found} in examples {examples}")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild the layer."""
        return super().get_config() | {"bos": self.bos, "eos": self.eos, "rules": asdict(self.rules)}


@keras.saving.register_keras_serializable(package="keras_segattn")
class BeamSearch(Search):
    """Beam search: the K best token sequences that a decoder finds for each example, best first.

    It replaces `tfa.seq2seq.BeamSearchDecoder`.

    Args:
        decoder: decoder that predicts the next token.
        bos, eos: ids of the tokens before the first and after the last.
        rules: rules of the search.

    Call arguments:
        encoded: dict of tensors of one batch, which the decoder's `start` reads. If it has no `mask`, the mask that
            Keras attaches to its `annotations` is added; Keras passes it as the argument `mask`.

    Output:
        dict `tokens` int32 `(batch, K, T)`, eos from the end on; `scores` float32 `(batch, K)`, by which sequences are
        ordered, and `log_probabilities` float32 `(batch, K)`; `lengths` int32 `(batch, K)`, eos included; `attention`
        float32 `(batch, K, T, L)`, 0 after the last token.

    Raises:
        TypeError, ValueError: if an argument is wrong, the batches of `encoded` differ, or it is not finite. In a graph
            nothing is raised for the latter: the scores of such an example are NaN or, with `finished="shrink"`, -1e9,
            and those of the other examples do not change.

    Example:
        >>> found = BeamSearch(decoder, bos=1, eos=2, rules=BeamRules(beams=12, length=50))(encoded)
    """

    kind: type[Any] = BeamRules

    def __init__(self, decoder: Decoder, bos: int, eos: int, rules: BeamRules | None = None, **kwargs: Any) -> None:
        super().__init__(decoder, bos, eos, BeamRules() if rules is None else rules, **kwargs)

    def build(self, encoded_shape: dict[str, Any]) -> None:
        """Make the weights of a decoder that comes from a file."""
        self.decoder.build_layers(encoded_shape)

    def call(self, encoded: dict[str, Any], mask: Any = None) -> dict[str, Any]:
        """Search, and return the dict described above."""
        encoded = masked(encoded, (mask or {}).get("annotations"))
        self.check_values(encoded)
        states, memory = self.decoder.start(encoded, self.rules.beams)
        locations = self.decoder.locations(encoded)

        def step(tokens: Any, states: list[Any]) -> tuple[Any, Any, list[Any]]:
            return self.decoder.step(tokens, states, memory)

        return beam_search(step, states, locations, self.rules, self.decoder.vocabulary, self.bos, self.eos)

    def compute_output_spec(
        self,
        encoded: dict[str, Any],
        mask: Any = None,  # noqa: ARG002
    ) -> dict[str, keras.KerasTensor]:
        """Return shapes and dtypes of K hypotheses of T tokens."""
        batch, locations = self.decoder.sizes(encoded)
        shape = (batch, self.rules.beams)
        return {
            "tokens": keras.KerasTensor((*shape, self.rules.length), dtype="int32"),
            "scores": keras.KerasTensor(shape, dtype="float32"),
            "log_probabilities": keras.KerasTensor(shape, dtype="float32"),
            "lengths": keras.KerasTensor(shape, dtype="int32"),
            "attention": keras.KerasTensor((*shape, self.rules.length, locations), dtype="float32"),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "BeamSearch":
        """Restore the search with its decoder and rules."""
        rules = BeamRules(**config["rules"] | {"forbidden": tuple(config["rules"]["forbidden"])})
        return cls(**config | {"decoder": keras.saving.deserialize_keras_object(config["decoder"]), "rules": rules})


@keras.saving.register_keras_serializable(package="keras_segattn")
class SampleTokens(Search):
    """Sampling: one token sequence per example, each token drawn from the decoder's probabilities.

    Args:
        decoder: decoder that predicts the next token.
        bos, eos: ids of the tokens before the first and after the last.
        rules: rules of the draw.

    Call arguments:
        encoded: dict of tensors of one batch, which the decoder's `start` reads. If it has no `mask`, the mask that
            Keras attaches to its `annotations` is added; Keras passes it as the argument `encoded_mask`.
        noise: float32 `(batch, T)`, uniform in [0, 1): the same noise gives the same tokens everywhere.

    Output:
        dict `tokens` int32 `(batch, T)`, eos from the end on; `log_probabilities` float32 `(batch,)`, of the sequence
        under the model without the rules; `lengths` int32 `(batch,)`, eos included; `attention` float32
        `(batch, T, L)`, 0 after the last token.

    Raises:
        TypeError, ValueError: if an argument is wrong, the batches or the length of the noise differ, or, outside of
            graphs, if `encoded` is not finite or the noise is outside [0, 1).

    Example:
        >>> rules = SamplingRules(length=50, temperature=0.8, nucleus=0.95)
        >>> drawn = SampleTokens(decoder, bos=1, eos=2, rules=rules)(encoded, noise)
    """

    kind: type[Any] = SamplingRules

    def __init__(self, decoder: Decoder, bos: int, eos: int, rules: SamplingRules | None = None, **kwargs: Any) -> None:
        super().__init__(decoder, bos, eos, SamplingRules() if rules is None else rules, **kwargs)

    def build(self, encoded_shape: dict[str, Any], noise_shape: tuple[int | None, ...]) -> None:  # noqa: ARG002
        """Make the weights of a decoder that comes from a file."""
        self.decoder.build_layers(encoded_shape)

    def call(self, encoded: dict[str, Any], noise: Any, encoded_mask: Any = None) -> dict[str, Any]:
        """Draw sequences, and return the dict described above."""
        encoded = masked(encoded, (encoded_mask or {}).get("annotations"))
        if noise.shape[-1] != self.rules.length:
            raise ValueError(f"noise must be (batch, {self.rules.length}), received the shape {tuple(noise.shape)}")
        self.check_values(encoded, noise)
        states, memory = self.decoder.start(encoded, 1)
        locations = self.decoder.locations(encoded)

        def step(tokens: Any, states: list[Any]) -> tuple[Any, Any, list[Any]]:
            return self.decoder.step(tokens, states, memory)

        return sample_tokens(step, states, locations, noise, self.rules, self.bos, self.eos)

    def compute_output_spec(
        self,
        encoded: dict[str, Any],
        noise: Any,  # noqa: ARG002
        encoded_mask: Any = None,  # noqa: ARG002
    ) -> dict[str, keras.KerasTensor]:
        """Return shapes and dtypes of one sequence of T tokens."""
        batch, locations = self.decoder.sizes(encoded)
        return {
            "tokens": keras.KerasTensor((batch, self.rules.length), dtype="int32"),
            "log_probabilities": keras.KerasTensor((batch,), dtype="float32"),
            "lengths": keras.KerasTensor((batch,), dtype="int32"),
            "attention": keras.KerasTensor((batch, self.rules.length, locations), dtype="float32"),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SampleTokens":
        """Restore the layer with its decoder and rules."""
        rules = SamplingRules(**config["rules"] | {"forbidden": tuple(config["rules"]["forbidden"])})
        return cls(**config | {"decoder": keras.saving.deserialize_keras_object(config["decoder"]), "rules": rules})
