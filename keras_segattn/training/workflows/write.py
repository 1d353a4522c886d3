"""Training of models that write sentences: translations, or captions of pictures."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_segattn.arguments import is_integer
from keras_segattn.data import CaptionBatches, SequenceBatches, Vocabulary
from keras_segattn.data.examples import read
from keras_segattn.facts import facts_of
from keras_segattn.fields import UNK, Picture, Tokens
from keras_segattn.registry import Card
from keras_segattn.training.sequence_recipes import SEQUENCE_RECIPES
from keras_segattn.training.sequences import train_sequences
from keras_segattn.training.workflows.job import Job, Workflow, freeze


def train(job: Job) -> None:
    """Train a model on pairs of sentences or, if its first input is a picture, on pictures with captions."""
    first = next(iter(job.card.inputs.values()))
    (captions if isinstance(first, Picture) else translations)(job)


def translations(job: Job) -> None:
    """Train a model on pairs of sentences."""
    pairs = job.data.data.examples
    sides = {kind.target: kind for kind in job.card.inputs.values() if isinstance(kind, Tokens)}
    words = {
        sides[target].vocabulary: vocabulary_of(job, sides[target], (pair[target] for pair in pairs))
        for target in (False, True)
    }
    source, target = words.values()
    model = job.card.builder(**sized(job, words))
    facts = facts_of(model, vocabularies=tokens_of(words), training=job.sentence)

    def batches(pairs: Sequence[Any], shuffle: bool) -> SequenceBatches:
        ids = [(source.encode(said), target.encode(written)) for said, written in pairs]
        return SequenceBatches(ids, job.batch_size, shuffle=shuffle, seed=job.seed)

    _train(job, model, facts, batches)


def captions(job: Job) -> None:
    """Train a model on pictures with captions; a backbone with packaged weights is not trained."""
    [(name, _)] = [(name, kind) for name, kind in job.card.inputs.items() if isinstance(kind, Picture)]
    [target] = [kind for kind in job.card.inputs.values() if isinstance(kind, Tokens)]
    said = (caption for picture in job.data.data.examples for caption in picture.captions)
    words = {target.vocabulary: vocabulary_of(job, target, said)}
    shape = job.shape()
    model = job.card.builder(**sized(job, words, input_shape=shape))
    facts = facts_of(model, vocabularies=tokens_of(words), training=job.sentence)
    field = facts.inputs.get(name)
    if not isinstance(field, Picture):
        raise ValueError(f"expected a model that takes pictures, {model.name!r} takes {list(facts.inputs)}")
    if job.card.training.backbone and job.arguments.get("weights") is not None:
        freeze(model, job.card.training.backbone, name)

    def batches(captioned: Sequence[Any], shuffle: bool) -> CaptionBatches:
        ids = [[words[target.vocabulary].encode(caption) for caption in picture.captions] for picture in captioned]

        def pictures(places: np.ndarray) -> np.ndarray:
            images = [read(field, shape, captioned[place].image, {}).array for place in places]
            return np.asarray(field.prepare(np.stack(images)))

        return CaptionBatches(ids, pictures, job.batch_size, shuffle=shuffle, seed=job.seed, name=name)

    _train(job, model, facts, batches)


def _train(job: Job, model: Any, facts: Any, batches: Any) -> None:
    training = batches(job.data.data.examples, shuffle=True)
    held_out = None if job.validation is None else batches(job.validation.data.examples, shuffle=False)
    job.begin()
    train_sequences(
        model,
        training,
        held_out,
        facts=facts,
        **job.training,
    )


def tokens_of(words: Mapping[str, Vocabulary]) -> dict[str, tuple[str, ...]]:
    """Return the tokens of vocabularies by their names."""
    return {name: vocabulary.tokens for name, vocabulary in words.items()}


def size_argument(card: Card, kind: Tokens) -> str:
    """Return the name of the builder's argument for a vocabulary's size: `"source_vocabulary"`, or `"vocabulary"`.

    Raises:
        ValueError: if it has no such argument.
    """
    parameters = inspect.signature(card.builder).parameters
    for name in (f"{kind.vocabulary}_vocabulary", "vocabulary"):
        if name in parameters:
            return name
    raise ValueError(f"{card.name} has no argument for the size of its vocabulary {kind.vocabulary!r}")


def vocabulary_of(job: Job, kind: Tokens, sentences: Iterable[Sequence[str]]) -> Vocabulary:
    """Collect the most frequent tokens of sentences, as many as the builder's argument or its default allows."""
    argument = size_argument(job.card, kind)
    most = job.arguments.get(argument, inspect.signature(job.card.builder).parameters[argument].default)
    if not is_integer(most) or most <= UNK + 1:
        raise ValueError(f"{argument} must be more than the {UNK + 1} special tokens, received {most!r}")
    return Vocabulary.of(sentences, size=most - UNK - 1)


def sized(job: Job, words: Mapping[str, Vocabulary], **known: Any) -> dict[str, Any]:
    """Return the builder's arguments with the sizes of the vocabularies, which the user's arguments limit."""
    kinds = {kind.vocabulary: kind for kind in job.card.inputs.values() if isinstance(kind, Tokens)}
    sizes = {size_argument(job.card, kinds[name]): len(tokens) for name, tokens in words.items()}
    return job.filled(**known) | sizes


WORKFLOW = Workflow(train=train, recipes={"adam-cosine": SEQUENCE_RECIPES["adam-cosine"], **SEQUENCE_RECIPES})
