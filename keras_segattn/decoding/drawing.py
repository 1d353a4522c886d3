"""Random draws of tokens by their probabilities, with the noise as an input."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keras_segattn.arguments import check_number, check_positive_integer, is_integer, is_number
from keras_segattn.decoding.beam_search import NEVER, Step, check_forbidden, to_python


@dataclass(frozen=True)
class SamplingRules:
    """Rules of a draw: which tokens are drawn, and how probable each is.

    Args:
        length: greatest number of tokens of a sequence, the end of sentence included, T.
        temperature: divisor of the logits; 0 takes the most probable token (greedy search), without the next two.
        top_k: number of the most probable tokens that are drawn from; 0 for all.
        nucleus: least total probability of the most probable tokens that are drawn from (Holtzman et al. 2020, arXiv
            1904.09751); 1.0 for all tokens.
        forbidden: tokens that are never written, such as the unknown word.

    Raises:
        ValueError: if an argument is wrong.
    """

    length: int = 50
    temperature: float = 1.0
    top_k: int = 0
    nucleus: float = 1.0
    forbidden: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_positive_integer("length", self.length)
        check_number("temperature", self.temperature, 0)
        if not is_integer(self.top_k) or self.top_k < 0:
            raise ValueError(f"top_k must be an integer from 0, received {self.top_k!r}")
        if not is_number(self.nucleus) or not 0 < self.nucleus <= 1:
            raise ValueError(f"nucleus must be above 0 and at most 1, received {self.nucleus!r}")
        if self.temperature == 0 and (self.top_k, self.nucleus) != (0, 1):
            raise ValueError(
                "temperature=0 takes the most probable token, so that top_k and nucleus have no effect, "
                f"received top_k={self.top_k!r} and nucleus={self.nucleus!r}"
            )
        check_forbidden(self.forbidden)
        to_python(self)


def draw(logits: Any, uniform: Any, rules: SamplingRules) -> Any:
    """Draw tokens int32 `(batch,)` from logits `(batch, V)` and noise `(batch,)` in [0, 1).

    The noise is looked up in the cumulative sum of the probabilities, from the most probable token down, in float32
    whatever the dtypes: in half precision, the sum of many small probabilities would stop to grow.
    """
    logits, uniform = ops.cast(logits, "float32"), ops.cast(uniform, "float32")
    vocabulary = logits.shape[-1]
    check_forbidden(rules.forbidden, vocabulary)
    if rules.forbidden:
        logits = ops.where(np.isin(np.arange(vocabulary), rules.forbidden), NEVER, logits)
    kept = vocabulary if rules.top_k == 0 else min(rules.top_k, vocabulary)
    if rules.temperature == 0:
        return ops.cast(ops.top_k(logits, 1)[1], "int32")[:, 0]
    logits, tokens = ops.top_k(logits, kept)
    shares = ops.softmax((logits - logits[:, :1]) / rules.temperature, axis=-1)
    reached = ops.cumsum(shares, axis=-1)
    shares = ops.where(reached - shares < rules.nucleus, shares, 0.0)
    reached = ops.cumsum(shares, axis=-1)
    place = ops.sum(ops.cast(reached <= uniform[:, None] * reached[:, -1:], "int32"), axis=-1)
    kept = ops.sum(ops.cast(shares > 0, "int32"), axis=-1)
    place = ops.maximum(ops.minimum(place, kept - 1), 0)  # rounding can pass the last token that may be drawn
    return ops.cast(ops.take_along_axis(tokens, place[:, None], axis=1), "int32")[:, 0]


def sample_tokens(
    step: Step, states: list[Any], locations: Any, noise: Any, rules: SamplingRules, bos: int, eos: int
) -> dict[str, Any]:
    """Draw one sequence per example, token by token.

    Args:
        step: function from tokens int32 `(batch,)` and states to logits `(batch, V)`, attention weights `(batch, L)`
            and new states.
        states: tensors `(batch, …)`.
        locations: L, the number of locations that are attended to, a number or a scalar tensor.
        noise: float32 `(batch, T)` in [0, 1).
        rules: rules of the draw.
        bos: id of the token before the first.
        eos: id of the token after the last.

    Returns:
        dict `tokens` int32 `(batch, T)`, eos from the end on; `log_probabilities` float32 `(batch,)`; `lengths` int32
        `(batch,)`, eos included; `attention` float32 `(batch, T, L)`, 0 from the end on.
    """
    batch = ops.shape(states[0])[0]
    times = np.arange(rules.length)
    previous = ops.full((batch,), bos, dtype="int32")
    tokens = ops.full((batch, rules.length), eos, dtype="int32")
    attention = ops.zeros((batch, rules.length, locations), dtype="float32")
    sums, lengths = ops.zeros((batch,), dtype="float32"), ops.zeros((batch,), dtype="int32")
    finished = ops.zeros((batch,), dtype="bool")

    def unfinished(time: Any, finished: Any, *_: Any) -> Any:
        return ops.logical_and(time < rules.length, ops.logical_not(ops.all(finished)))

    def body(
        time: Any, finished: Any, previous: Any, tokens: Any, attention: Any, sums: Any, lengths: Any, *states: Any
    ) -> tuple[Any, ...]:
        logits, weights, new = step(previous, list(states))
        logits = ops.cast(logits, "float32")
        now = times == time
        uniform = ops.sum(ops.where(now, noise, 0.0), axis=1)
        chosen = ops.where(finished, eos, draw(logits, uniform, rules))
        going = ops.logical_not(finished)
        gain = ops.take_along_axis(ops.log_softmax(logits, axis=-1), chosen[:, None], axis=1)[:, 0]
        weights = ops.cast(weights, "float32") * ops.cast(going, "float32")[:, None]
        return (
            time + 1,
            ops.logical_or(finished, chosen == eos),
            chosen,
            ops.where(now, chosen[:, None], tokens),
            ops.where(now[:, None], weights[:, None], attention),
            sums + ops.where(going, gain, 0.0),
            lengths + ops.cast(going, "int32"),
            *new,
        )

    start = (0, finished, previous, tokens, attention, sums, lengths, *states)
    _, _, _, tokens, attention, sums, lengths, *_ = ops.while_loop(unfinished, body, start)
    return {"tokens": tokens, "log_probabilities": sums, "lengths": lengths, "attention": attention}
