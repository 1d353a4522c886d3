"""Training and evaluation of detectors."""

from typing import Any

import keras

from keras_segattn.data import InstanceBatches
from keras_segattn.data.sources import Source
from keras_segattn.facts import Facts, facts_of
from keras_segattn.training.cascade_trainer import CascadeTrainer
from keras_segattn.training.instance_evaluation import evaluate_instances
from keras_segattn.training.instance_recipes import INSTANCE_RECIPES
from keras_segattn.training.instance_trainer import InstanceTrainer
from keras_segattn.training.instances import train_instances
from keras_segattn.training.region_trainer import freeze_batch_norm
from keras_segattn.training.workflows.job import Job, Workflow, picture_of

# Largest number of objects per picture that are trained on; of more objects, the largest are kept.
SLOTS = 20
# Trainers by their name on the card (`registry.Training`).
TRAINERS: dict[str | None, Any] = {"regions": InstanceTrainer, "cascade": CascadeTrainer}


def train(job: Job) -> None:
    """Train a detector on pictures padded to one size; if it starts with weights, batch normalisation is frozen."""
    kind = job.card.training.trainer
    if kind not in TRAINERS:
        raise ValueError(f"expected the card of {job.card.name} to name a trainer of {list(TRAINERS)}, found {kind!r}")
    shape = job.shape()
    model = job.card.builder(**job.filled(classes=job.classes(background=1), input_shape=shape))
    facts = facts_of(model, labels=job.names, training=job.sentence)
    if job.arguments.get("weights") is not None:
        freeze_batch_norm(model)
    shared: dict[str, Any] = {
        "batch_size": job.batch_size,
        "size": shape[:2],
        "slots": SLOTS,
        "preprocessing": picture_of(facts),
        "seed": job.seed,
    }
    batches = InstanceBatches(job.data.data.examples, flip=job.mirror, shuffle=True, **shared)
    held_out = None if job.validation is None else InstanceBatches(job.validation.data.examples, **shared)
    trainer = TRAINERS[kind](model, seed=job.seed)
    job.begin()
    train_instances(
        trainer,
        batches,
        held_out,
        facts=facts,
        **job.training,
    )


def evaluate(
    model: keras.Model, facts: Facts, source: Source, size: tuple[int, int] | None, batch_size: int
) -> dict[str, float]:
    """Compute the average precision of boxes and masks (COCO) and of regions (SDS); read pictures one by one."""
    del facts, batch_size
    scores = evaluate_instances(model, source.data.examples, size=size)
    return {
        f"{kind} {name}": float(value)
        for kind, part in scores.items()
        for name, value in part.items()
        if isinstance(value, float)
    }


WORKFLOW = Workflow(train=train, evaluate=evaluate, recipes=INSTANCE_RECIPES)
