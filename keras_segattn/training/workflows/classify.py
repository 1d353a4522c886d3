"""Training and evaluation of classifiers."""

import keras
import numpy as np

from keras_segattn.data import PictureBatches, read_image
from keras_segattn.data.sources import Source
from keras_segattn.facts import Facts, facts_of
from keras_segattn.training.classifier import train_classifier
from keras_segattn.training.classifier_evaluation import evaluate_classifier
from keras_segattn.training.classifier_recipes import CLASSIFIER_RECIPES
from keras_segattn.training.workflows.job import Job, Workflow, picture_of


def train(job: Job) -> None:
    """Train a classifier on pictures that are brought to one size."""
    shape = job.shape()
    model = job.card.builder(**job.filled(classes=job.classes(), input_shape=shape))
    facts = facts_of(model, labels=job.names, training=job.sentence)
    field = picture_of(facts)
    batches = PictureBatches(
        job.data.data.examples,
        field,
        shape,
        batch_size=job.batch_size,
        mirror=job.mirror,
        shuffle=True,
        seed=job.seed,
    )
    held_out = (
        None
        if job.validation is None
        else PictureBatches(job.validation.data.examples, field, shape, batch_size=job.batch_size)
    )
    job.begin()
    train_classifier(
        model,
        batches,
        held_out,
        facts=facts,
        **job.training,
    )


def evaluate(
    model: keras.Model, facts: Facts, source: Source, size: tuple[int, int] | None, batch_size: int
) -> dict[str, float]:
    """Compute the top-1 and top-5 error on the central crop of every picture."""
    if size is not None and size != model.input_shape[1:3]:
        raise ValueError(f"expected no size but that of {model.name!r}, {model.input_shape[1:3]}, received {size}")
    pictures, labels = source.data.examples
    # Pictures are read one by one, because a data set of photographs does not fit into memory.
    examples = (
        (picture if isinstance(picture, np.ndarray) else read_image(picture), label)
        for picture, label in zip(pictures, labels, strict=True)
    )
    return evaluate_classifier(model, examples, preprocessing=picture_of(facts), batch_size=batch_size, progress=True)


WORKFLOW = Workflow(train=train, evaluate=evaluate, recipes=CLASSIFIER_RECIPES)
