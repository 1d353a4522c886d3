"""Training in two steps: features with a linear classifier, then a larger classifier on the finished features."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import keras

from keras_segattn.arguments import is_integer
from keras_segattn.training.segmentation_recipes import SegmentationRecipe
from keras_segattn.training.segmenter import train_segmenter
from keras_segattn.training.source import Data


def train_features_then_classifier(
    linear: keras.Model,
    classifier: keras.Model,
    train_data: Data,
    validation_data: Data | None = None,
    *,
    epochs: int | Sequence[int],
    ignore_label: int | None = 255,
    recipe: str | SegmentationRecipe = "adamw-cosine",
    learning_rate: float | None = None,
    loss: keras.losses.Loss | None = None,
    run_dir: str | PathLike[str] | None = None,
    resume: bool = True,
    checkpoint_steps: int | None = None,
    mixed_precision: bool | str = False,
    progress: bool = True,
) -> tuple[keras.callbacks.History, keras.callbacks.History]:
    """Train a linear classifier together with its features, then another classifier on them (Farabet et al. 2013, 3.2).

    The weights of the layers that both models have, by name, are trained in the first step, copied, and frozen in the
    second one. Balanced sampling of classes, as in the paper, is a `loss` with a weight per class.

    Args:
        linear: model whose classifier is linear, such as `MultiScaleConvNet(hidden=None)`. It is trained in place.
        classifier: model with the same features, such as `MultiScaleConvNet()`. It is trained in place; afterwards its
            layers are as trainable as before, but in the files of the run directory the features are frozen.
        train_data: batches of images and masks, see `train_segmenter`.
        validation_data: batches of the same kind, evaluated after every epoch.
        epochs: number of epochs of each step, or one number per step.
        ignore_label: label of pixels that do not count, or `None`, see `train_segmenter`.
        recipe: recipe of both steps.
        learning_rate: learning rate of both steps, instead of the recipe's.
        loss: loss of both steps, instead of the recipe's.
        run_dir: directory in which the steps get the run directories `1-features` and `2-classifier`; `None` writes
            nothing.
        resume: whether to go on where an interrupted call stopped; a finished step is loaded, not trained again.
        checkpoint_steps: number of training steps after which a checkpoint is also written within an epoch, see
            `train_segmenter`.
        mixed_precision: `True`, `False` or the name of a mixed policy, see `train_segmenter`.
        progress: whether to show Keras' progress bar.

    Returns:
        Keras' histories of both steps.

    Raises:
        ValueError: if the models share no layers, differ in a shared one, or the second has no layer of its own, or if
            the number of epochs does not match; also in the cases of `train_segmenter`.

    Example:
        >>> models = MultiScaleConvNet(classes=11, hidden=None), MultiScaleConvNet(classes=11)
        >>> train_features_then_classifier(*models, batches, epochs=(20, 10), ignore_label=11, run_dir="run")
    """
    each = [epochs] * 2 if is_integer(epochs) else list(epochs)
    if len(each) != 2:
        raise ValueError(f"expected one number of epochs per step, received {len(each)} for 2 steps")
    shared = shared_layers(linear, classifier)

    def train(model: keras.Model, step: int, name: str) -> keras.callbacks.History:
        return train_segmenter(
            model,
            train_data,
            validation_data,
            epochs=each[step - 1],
            ignore_label=ignore_label,
            recipe=recipe,
            learning_rate=learning_rate,
            loss=loss,
            run_dir=None if run_dir is None else Path(run_dir) / f"{step}-{name}",
            resume=resume,
            checkpoint_steps=checkpoint_steps,
            mixed_precision=mixed_precision,
            progress=progress,
        )

    first = train(linear, 1, "features")
    for layer in shared:
        layer.set_weights(linear.get_layer(layer.name).get_weights())
    with frozen(shared):
        return first, train(classifier, 2, "classifier")


def shared_layers(linear: keras.Model, classifier: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers with weights of the second model that the first one has, too.

    Raises:
        ValueError: if there are none, all are shared, or the weights of one differ in shape.
    """
    shapes = {layer.name: [tuple(weight.shape) for weight in layer.weights] for layer in linear.layers}
    own = [layer for layer in classifier.layers if layer.weights]
    shared = [layer for layer in own if layer.name in shapes]
    if not 0 < len(shared) < len(own):
        raise ValueError(
            f"expected models that share their features but not their classifiers; of {len(own)} layers of "
            f"{classifier.name!r} with weights, {len(shared)} are in {linear.name!r}"
        )
    for layer in shared:
        want = [tuple(weight.shape) for weight in layer.weights]
        if want != shapes[layer.name]:
            raise ValueError(
                f"layer {layer.name!r} has shapes {shapes[layer.name]} in {linear.name} and {want} in {classifier.name}"
            )
    return shared


@contextmanager
def frozen(layers: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """Keep the weights of layers from being trained, and restore afterwards what was trainable."""
    before = [layer.trainable for layer in layers]
    try:
        for layer in layers:
            layer.trainable = False
        yield
    finally:
        for layer, trainable in zip(layers, before, strict=True):
            layer.trainable = trainable
