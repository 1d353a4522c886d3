"""Beam search on tensors of fixed size, so that the same graph runs in Keras, on servers and on phones.

It is for inference only. Shapes: B examples, K hypotheses (beams) per example, T tokens, L locations that are attended
to, V tokens in the vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keras_segattn.arguments import check_choice, check_number, check_positive_integer, is_integer

# Score of hypotheses that do not exist, as it is returned.
IMPOSSIBLE = -1e9
# Log-probability of impossible tokens in the search. No logits of a model are so low, and long sums stay finite.
NEVER = -1e30
Step = Callable[[Any, list[Any]], tuple[Any, Any, list[Any]]]


@dataclass(frozen=True)
class BeamRules:
    """Rules of a beam search: the choices in which published searches differ.

    Args:
        beams: number of hypotheses per example, K.
        length: greatest number of tokens of a hypothesis, the end of sentence included, T.
        finished: `"keep"` if a finished hypothesis stays in the beam and competes (TensorFlow Addons, GNMT), or
            `"shrink"` if it leaves, and the beam is one smaller from then on (the code of Show, Attend and Tell and of
            GroundHog).
        normalize: divisor of sums of log-probabilities when hypotheses are compared: `None` for 1, `"length"`, or
            `"gnmt"` for ((5 + length) / 6) ** alpha (Wu et al. 2016, equation 14). With `finished="shrink"`, sums are
            divided at the end only.
        alpha: exponent of `"gnmt"`, at least 0; without `"gnmt"` it has no effect, and must be 1.
        coverage: weight of Wu et al.'s coverage penalty, at least 0; only with `finished="keep"`.
        least: number of tokens that must come before the end of sentence.
        forbidden: tokens that are never written, such as the unknown word.

    Raises:
        ValueError: if an argument is wrong.
    """

    beams: int = 5
    length: int = 50
    finished: str = "keep"
    normalize: str | None = None
    alpha: float = 1.0
    coverage: float = 0.0
    least: int = 0
    forbidden: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_positive_integer("beams", self.beams)
        check_positive_integer("length", self.length)
        check_choice("finished", self.finished, ("keep", "shrink"))
        check_choice("normalize", self.normalize, (None, "length", "gnmt"))
        if not is_integer(self.least) or not 0 <= self.least < self.length:
            raise ValueError(f"least must be within 0..{self.length - 1}, received {self.least!r}")
        check_number("alpha", self.alpha, 0)
        if self.alpha != 1 and self.normalize != "gnmt":
            raise ValueError(
                f'alpha is the exponent of normalize="gnmt", received {self.alpha!r} with normalize={self.normalize!r}'
            )
        check_number("coverage", self.coverage, 0)
        check_forbidden(self.forbidden)
        if self.coverage and self.finished == "shrink":
            raise ValueError('the coverage penalty is defined with finished="keep"')
        to_python(self)

    def penalty(self, lengths: Any) -> Any:
        """Return the divisors of sums of log-probabilities for hypotheses of these lengths."""
        lengths = ops.cast(lengths, "float32")
        if self.normalize == "length":
            return ops.maximum(lengths, 1.0)
        if self.normalize == "gnmt":
            return ops.power((5.0 + lengths) / 6.0, self.alpha)
        return ops.ones_like(lengths)


def check_forbidden(forbidden: Any, vocabulary: int | None = None) -> None:
    """Raise `ValueError` unless `forbidden` is a tuple of ids of tokens, which are in the vocabulary if it is given."""
    if not isinstance(forbidden, tuple) or not all(is_integer(token) and token >= 0 for token in forbidden):
        raise ValueError(f"forbidden must be a tuple of ids of tokens, received {forbidden!r}")
    if vocabulary is None:
        return
    for token in forbidden:
        if token >= vocabulary:
            raise ValueError(f"forbidden tokens must be within 0..{vocabulary - 1}, received {token}")
    if len(set(forbidden)) == vocabulary:
        raise ValueError(f"all {vocabulary} tokens of the vocabulary are forbidden")


def to_python(rules: Any) -> None:
    """Convert the numbers of rules to Python's, as JSON, which stores them with a model, has none of NumPy's."""
    for name, value in vars(rules).items():
        if isinstance(value, np.generic):
            object.__setattr__(rules, name, value.item())
    object.__setattr__(rules, "forbidden", tuple(int(token) for token in rules.forbidden))


def beam_search(
    step: Step, states: list[Any], locations: Any, rules: BeamRules, vocabulary: int, bos: int, eos: int
) -> dict[str, Any]:
    """Find the best hypotheses of each example, best first.

    Args:
        step: function from tokens int32 `(B·K,)` and states to logits `(B·K, V)`, attention weights `(B·K, L)` and new
            states.
        states: tensors `(B·K, …)`, the states of each example K times in a row.
        locations: L, a number or a scalar tensor.
        rules: rules of the search.
        vocabulary: V, the number of tokens.
        bos: id of the token before the first.
        eos: id of the token after the last.

    Returns:
        dict `tokens` int32 `(B, K, T)`, eos from the end of the sentence on; `scores` float32 `(B, K)`, by which
        hypotheses are ordered, and `log_probabilities` float32 `(B, K)`; `lengths` int32 `(B, K)`, eos included;
        `attention` float32 `(B, K, T, L)`, 0 after the last token. If there are fewer hypotheses than K, the last have
        the score -1e9.

    Raises:
        ValueError: if a forbidden token is not in the vocabulary, or all tokens are forbidden.
    """
    check_forbidden(rules.forbidden, vocabulary)
    beam = _Beam(step, rules, vocabulary, eos)
    batch = ops.shape(states[0])[0] // rules.beams
    shape = (batch, rules.beams)
    first = np.full((1, rules.beams), NEVER, "float32")
    first[0, 0] = 0.0  # before the first token there is only one hypothesis
    sums = ops.broadcast_to(first, shape)
    tokens = ops.full((*shape, rules.length), eos, dtype="int32")
    attention = ops.zeros((*shape, rules.length, locations), dtype="float32")
    lengths = ops.zeros(shape, dtype="int32")
    previous = ops.full((batch * rules.beams,), bos, dtype="int32")
    search = beam.keep if rules.finished == "keep" else beam.shrink
    return search(sums, tokens, attention, lengths, previous, states)


class _Beam:
    """The two searches, `keep` and `shrink`, and the candidates of a step, which they share."""

    def __init__(self, step: Step, rules: BeamRules, vocabulary: int, eos: int) -> None:
        self.step, self.rules, self.vocabulary, self.eos = step, rules, vocabulary, eos
        self.is_eos = np.arange(vocabulary) == eos
        self.forbidden = np.isin(np.arange(vocabulary), rules.forbidden)

    def candidates(self, time: Any, previous: Any, states: Sequence[Any]) -> tuple[Any, Any, list[Any]]:
        """Return log-probabilities `(B, K, V)` of the next tokens, attention weights `(B, K, L)` and new states."""
        logits, weights, new = self.step(previous, list(states))
        found = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
        if self.rules.forbidden:
            found = ops.where(self.forbidden, NEVER, found)
        if self.rules.least:
            found = ops.where(ops.logical_and(self.is_eos, time < self.rules.least), NEVER, found)
        return _split(found, self.rules.beams), _split(ops.cast(weights, "float32"), self.rules.beams), new

    def best(self, scores: Any) -> tuple[Any, Any, Any]:
        """Return the K best of `(B, K, V)`: their scores, the hypotheses they continue, and the tokens they add."""
        found, index = ops.top_k(ops.reshape(scores, (-1, self.rules.beams * self.vocabulary)), self.rules.beams)
        index = ops.cast(index, "int32")
        parents = index // self.vocabulary
        return found, parents, index - parents * self.vocabulary

    def write(self, history: Any, time: Any, values: Any) -> Any:
        """Return `history` `(B, K, T, …)` with `values` `(B, K, …)` at one time step."""
        now = np.arange(self.rules.length).reshape(-1, *[1] * (len(history.shape) - 3))
        return ops.where(now == time, ops.expand_dims(values, 2), history)

    def keep(self, sums: Any, tokens: Any, attention: Any, lengths: Any, previous: Any, states: list[Any]) -> Any:
        """Search with finished hypotheses in the beam, to which further eos tokens are added at no cost."""
        finished = sums < 0.0  # the hypotheses that do not exist yet

        def unfinished(*loop: Any) -> Any:
            return ops.logical_and(loop[0] < self.rules.length, ops.logical_not(ops.all(loop[5])))

        def body(*loop: Any) -> tuple[Any, ...]:
            time, sums, tokens, attention, lengths, finished, previous, *states = loop
            found, weights, new = self.candidates(time, previous, states)
            found = ops.where(finished[..., None], np.where(self.is_eos, 0.0, NEVER).astype("float32"), found)
            found = found + sums[..., None]
            weights = weights * ops.cast(ops.logical_not(finished), "float32")[..., None]
            # The length counts an end of sentence from the step after it on, as in TensorFlow Addons.
            grown = ops.logical_and(ops.logical_not(finished)[..., None], ops.logical_not(self.is_eos))
            scores = found / self.rules.penalty(lengths[..., None] + ops.cast(grown, "int32"))
            if self.rules.coverage:
                scores = scores + self.uncovered(ops.sum(attention, axis=2), finished)[..., None]
            parents, chosen = self.best(scores)[1:]
            found = ops.reshape(found, (-1, self.rules.beams * self.vocabulary))
            sums = ops.take_along_axis(found, parents * self.vocabulary + chosen, axis=1)
            was_finished = _of(finished, parents)
            return (
                time + 1,
                sums,
                self.write(_of(tokens, parents), time, chosen),
                self.write(_of(attention, parents), time, _of(weights, parents)),
                _of(lengths, parents) + ops.cast(ops.logical_not(was_finished), "int32"),
                ops.logical_or(was_finished, chosen == self.eos),
                ops.reshape(chosen, (-1,)),
                *(_flat(_of(_split(state, self.rules.beams), parents)) for state in new),
            )

        start = (0, sums, tokens, attention, lengths, finished, previous, *states)
        _, sums, tokens, attention, lengths, finished, *_ = ops.while_loop(unfinished, body, start)
        # Score again with ends counted: a further step would do so, but the number of steps depends on the batch.
        scores = sums / self.rules.penalty(lengths)
        if self.rules.coverage:
            scores = scores + self.uncovered(ops.sum(attention, axis=2), finished)
        scores, order = ops.top_k(scores, self.rules.beams)
        order = ops.cast(order, "int32")
        return _hypotheses(_of(tokens, order), scores, _of(sums, order), _of(lengths, order), _of(attention, order))

    def uncovered(self, attention: Any, finished: Any) -> Any:
        """Return Wu et al.'s penalty (equation 15) for attention weights `(B, K, L)`, summed over time.

        As in TensorFlow Addons, it applies only to hypotheses that were finished before this step.
        """
        covered = ops.where(attention == 0.0, 1.0, ops.minimum(attention, 1.0))
        return self.rules.coverage * ops.sum(ops.log(covered), axis=-1) * ops.cast(finished, "float32")

    def shrink(self, sums: Any, tokens: Any, attention: Any, lengths: Any, previous: Any, states: list[Any]) -> Any:
        """Search with finished hypotheses moved to a pool, which the unfinished ones join after the last step."""
        beams = self.rules.beams
        ranks = np.arange(beams)

        def unfinished(*loop: Any) -> Any:
            return ops.logical_and(loop[0] < self.rules.length, ops.any(loop[4] < beams))

        def body(*loop: Any) -> tuple[Any, ...]:
            time, sums, tokens, attention, dead, pool, previous, *states = loop
            found, weights, new = self.candidates(time, previous, states)
            sums, parents, chosen = self.best(ops.maximum(found + sums[..., None], NEVER))
            tokens = self.write(_of(tokens, parents), time, chosen)
            attention = self.write(_of(attention, parents), time, _of(weights, parents))
            real = ops.logical_and(ranks < (beams - dead)[:, None], sums > NEVER / 2)
            ended = ops.logical_and(real, chosen == self.eos)
            pool = _into_pool(pool, dead, ended, sums, tokens, attention, ops.full_like(chosen, 1) * (time + 1))
            sums = ops.where(ops.logical_and(real, ops.logical_not(ended)), sums, NEVER)
            dead = dead + ops.sum(ops.cast(ended, "int32"), axis=1)
            kept = (_flat(_of(_split(state, beams), parents)) for state in new)
            return time + 1, sums, tokens, attention, dead, pool, ops.reshape(chosen, (-1,)), *kept

        pool = (ops.full_like(sums, NEVER), tokens, attention, lengths)
        dead = ops.zeros_like(lengths[:, 0])
        start = (0, sums, tokens, attention, dead, pool, previous, *states)
        time, sums, tokens, attention, dead, pool, *_ = ops.while_loop(unfinished, body, start)
        living = sums > NEVER / 2
        pool = _into_pool(pool, dead, living, sums, tokens, attention, ops.zeros_like(lengths) + time)
        sums, tokens, attention, lengths = pool
        scores = ops.where(lengths > 0, sums / self.rules.penalty(lengths), NEVER)
        scores, order = ops.top_k(scores, beams)
        order = ops.cast(order, "int32")
        return _hypotheses(_of(tokens, order), scores, _of(sums, order), _of(lengths, order), _of(attention, order))


def _into_pool(pool: tuple[Any, ...], dead: Any, which: Any, *hypotheses: Any) -> tuple[Any, ...]:
    """Add the hypotheses `which` `(B, K)` to a pool that holds `dead` `(B,)` hypotheses."""
    sums, tokens, attention, lengths = hypotheses
    beams = which.shape[1]
    place = dead[:, None] + ops.cumsum(ops.cast(which, "int32"), axis=1) - 1
    takes = ops.logical_and(place[:, None] == np.arange(beams)[:, None], which[:, None])  # (B, place, hypothesis)
    taken = ops.any(takes, axis=2)
    source = ops.sum(ops.cast(takes, "int32") * np.arange(beams, dtype="int32"), axis=2)
    merged = []
    for old, new in zip(pool, (sums, tokens, attention, lengths), strict=True):
        there = ops.reshape(taken, (-1, beams, *[1] * (len(old.shape) - 2)))
        merged.append(ops.where(there, _of(new, source), old))
    return tuple(merged)


def _hypotheses(tokens: Any, scores: Any, sums: Any, lengths: Any, attention: Any) -> dict[str, Any]:
    missing = sums < NEVER / 2
    return {
        "tokens": tokens,
        "scores": ops.where(missing, IMPOSSIBLE, scores),
        "log_probabilities": ops.where(missing, IMPOSSIBLE, sums),
        "lengths": lengths,
        "attention": attention,
    }


def _size(x: Any, axis: int) -> Any:
    return ops.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]


def _split(x: Any, beams: int) -> Any:
    # Keep a known batch size static even if other sizes are open: the shapes in a loop must not change.
    batch = -1 if x.shape[0] is None else x.shape[0] // beams
    return ops.reshape(x, (batch, beams, *(_size(x, axis) for axis in range(1, len(x.shape)))))


def _flat(x: Any) -> Any:
    rows = -1 if x.shape[0] is None else x.shape[0] * x.shape[1]
    return ops.reshape(x, (rows, *(_size(x, axis) for axis in range(2, len(x.shape)))))


def _of(x: Any, parents: Any) -> Any:
    """Select the hypotheses `parents` `(B, K)` of `x` `(B, K, …)`."""
    beams = x.shape[1]
    first = ops.arange(ops.shape(parents)[0], dtype="int32") * beams
    chosen = ops.take(_flat(x), ops.reshape(parents + first[:, None], (-1,)), axis=0)
    return _split(chosen, beams)
