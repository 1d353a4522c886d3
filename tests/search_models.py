"""A tiny language model for tests of the searches, and reference searches in plain Python."""

import itertools

import numpy as np
from keras import ops

VOCABULARY, BOS, EOS = 5, 1, 2


class Chain:
    """Logits from the last token and a vector that remembers the others; attention from the last token."""

    def __init__(self, seed=0, locations=3):
        random = np.random.default_rng(seed)
        self.table = random.normal(0, 1.5, (VOCABULARY, VOCABULARY)).astype("float32")
        self.seen = random.normal(0, 1, (VOCABULARY, VOCABULARY)).astype("float32")
        looks = random.uniform(0.05, 1, (VOCABULARY, locations))
        self.looks = (looks / looks.sum(axis=1, keepdims=True)).astype("float32")
        self.start = random.normal(0, 1, (3, VOCABULARY)).astype("float32")

    def step(self, tokens, states):
        logits = ops.take(self.table, tokens, axis=0) + states[0]
        state = 0.7 * states[0] + 0.3 * ops.take(self.seen, tokens, axis=0)
        return logits, ops.take(self.looks, tokens, axis=0), [state]

    def log_probabilities(self, example, tokens):
        """Return the log-probabilities of the token after `tokens`, and the attention weights of that step."""
        state, previous = self.start[example].astype("float64"), BOS
        for token in tokens:
            state, previous = 0.7 * state + 0.3 * self.seen[previous], token
        logits = self.table[previous] + state
        return logits - np.logaddexp.reduce(logits), self.looks[previous].astype("float64")

    def score(self, example, tokens):
        return sum(self.log_probabilities(example, tokens[:i])[0][token] for i, token in enumerate(tokens))


def every_sequence(length):
    """Yield all sequences of at most `length` tokens that end with EOS or have that length."""
    for n in range(1, length + 1):
        for tokens in itertools.product(range(VOCABULARY), repeat=n):
            if EOS not in tokens[:-1] and (tokens[-1] == EOS or n == length):
                yield tokens


def keep(model, example, rules):
    """Search like TensorFlow Addons, one hypothesis at a time; return (score, log-probability, tokens, length)."""
    beam = [(0.0, 0.0, (), 0, False, np.zeros(model.looks.shape[1]))]
    for time in range(rules.length):
        if all(hypothesis[4] for hypothesis in beam):
            break
        candidates = []
        for _, total, tokens, length, finished, covered in beam:
            found, look = model.log_probabilities(example, tokens)
            for token in range(VOCABULARY):
                if finished:
                    if token == EOS:
                        candidates.append((total, tokens, length, length, True, covered, True))
                    continue
                if token in rules.forbidden or (token == EOS and time < rules.least):
                    continue
                counted = length + (token != EOS)
                new = total + found[token]
                candidates.append((new, (*tokens, token), length + 1, counted, token == EOS, covered + look, False))
        scored = []
        for total, tokens, length, counted, finished, covered, before in candidates:
            score = total / penalty(counted, rules) + before * uncovered(covered, rules)
            scored.append((score, total, tokens, length, finished, covered))
        beam = sorted(scored, key=lambda hypothesis: -hypothesis[0])[: rules.beams]
    found = [
        (total / penalty(length, rules) + finished * uncovered(covered, rules), total, tokens, length)
        for _, total, tokens, length, finished, covered in beam
    ]
    return sorted(found, key=lambda hypothesis: -hypothesis[0])


def shrink(model, example, rules):
    """Search like `gen_sample` of Show, Attend and Tell: a finished hypothesis leaves, and the beam is one smaller."""
    living, dead = [(0.0, ())], []
    for time in range(rules.length):
        candidates = []
        for total, tokens in living:
            found, _ = model.log_probabilities(example, tokens)
            banned = {*rules.forbidden, *([EOS] if time < rules.least else [])}
            candidates += [(total + found[t], (*tokens, t)) for t in range(VOCABULARY) if t not in banned]
        best = sorted(candidates, key=lambda hypothesis: -hypothesis[0])[: rules.beams - len(dead)]
        dead += [hypothesis for hypothesis in best if hypothesis[1][-1] == EOS]
        living = [hypothesis for hypothesis in best if hypothesis[1][-1] != EOS]
        if len(dead) >= rules.beams or not living:
            break
    found = [(total / penalty(len(tokens), rules), total, tokens, len(tokens)) for total, tokens in dead + living]
    return sorted(found, key=lambda hypothesis: -hypothesis[0])


def uncovered(covered, rules):
    return rules.coverage * np.log(np.minimum(np.where(covered == 0, 1, covered), 1)).sum()


def penalty(length, rules):
    if rules.normalize == "gnmt":
        return ((5 + length) / 6) ** rules.alpha
    return max(length, 1) if rules.normalize == "length" else 1.0
