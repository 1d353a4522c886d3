"""Training and evaluation of models that label every pixel."""

from typing import Any

import keras

from keras_segattn.data import Augmentation, MaskBatches
from keras_segattn.data.sources import Source
from keras_segattn.facts import Facts, facts_of
from keras_segattn.training.segmentation_recipes import SEGMENTATION_RECIPES
from keras_segattn.training.segmenter import train_segmenter
from keras_segattn.training.segmenter_evaluation import evaluate_segmenter
from keras_segattn.training.workflows.job import Job, Workflow, picture_of

SIZE = (256, 256)
SCORES = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")


def train(job: Job) -> None:
    """Train a model that labels every pixel; unless the user says otherwise, it takes pictures of any size."""
    classes = job.classes()
    shape = job.arguments.get("input_shape", (None, None, 3))
    fixed = None if None in shape[:2] else (shape[0], shape[1])
    size = job.size or fixed or SIZE
    if fixed not in (None, size):
        raise ValueError(f"expected size {fixed}, as input_shape={shape!r} says, received {size}")
    model = job.card.builder(**job.filled(classes=classes) | {"input_shape": shape})
    facts = facts_of(model, labels=job.names, training=job.sentence)
    shared: dict[str, Any] = {
        "batch_size": job.batch_size,
        "preprocessing": picture_of(facts),
        "classes": classes,
        "seed": job.seed,
    }
    changes: dict[str, Any] = {"augmentation": Augmentation(crop=size)} if job.augment else {"size": size}
    batches = MaskBatches(job.data.data.examples, shuffle=True, **changes, **shared)
    held_out = None if job.validation is None else MaskBatches(job.validation.data.examples, size=size, **shared)
    job.begin()
    train_segmenter(
        model,
        batches,
        held_out,
        facts=facts,
        **job.training,
    )


def evaluate(
    model: keras.Model, facts: Facts, source: Source, size: tuple[int, int] | None, batch_size: int
) -> dict[str, float]:
    """Compute the scores of pixels, and the IoU of every class."""
    classes = model.output_shape[-1]
    own = model.input_shape[1:3]
    size = size or (None if None in own else own)
    batches = MaskBatches(
        source.data.examples, batch_size=batch_size, size=size, preprocessing=picture_of(facts), classes=classes
    )
    scores = evaluate_segmenter(model, batches, classes)
    names = facts.labels or [f"class {number}" for number in range(classes)]
    return {name: float(scores[name]) for name in SCORES} | {
        f"IoU of {name}": float(iou) for name, iou in zip(names, scores["iou"], strict=True)
    }


WORKFLOW = Workflow(
    train=train,
    evaluate=evaluate,
    recipes={"adamw-cosine": SEGMENTATION_RECIPES["adamw-cosine"], **SEGMENTATION_RECIPES},
)
