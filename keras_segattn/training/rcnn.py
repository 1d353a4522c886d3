"""Training of R-CNN's parts: its network as a classifier of crops, support vector machines and box regression."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from rich.progress import track

from keras_segattn import graph
from keras_segattn.arguments import check_number, check_positive_integer
from keras_segattn.data.instances import Example
from keras_segattn.data.region_batches import overlaps_of, regions_of
from keras_segattn.facts import preprocessing_of
from keras_segattn.layers import CropAndWarp
from keras_segattn.ops.crop_and_warp import crop_and_warp
from keras_segattn.training.box_regression import STRENGTH, train_box_regression
from keras_segattn.training.support_vector_machines import COST, train_support_vectors

# Features are scaled to this mean norm, for which the settings of both heads were chosen (`rcnn_scale_features.m`).
NORM = 20.0
# The mean norm is measured on so many boxes of so many pictures; `rcnn_feature_stats.m` takes 200 boxes, whose features
# it has on disk.
MEASURED_PICTURES, MEASURED_BOXES = 200, 20
# Regions that overlap an object by this much train the box regression.
REGRESSED_OVERLAP = 0.6
# Number of regions of a small batch.
FEW = 8
# Names of layers.
LOGITS, SVM, REGRESSION = "logits_split", "svm", "box_regression"


class Features(NamedTuple):
    """What the heads read: `(n, F)` for the support vector machines, and `(n, M)` for the box regression or `None`."""

    classified: np.ndarray
    regressed: np.ndarray | None


class Scales(NamedTuple):
    """Factors that give both kinds of features the mean norm of 20."""

    classified: float
    regressed: float | None


def region_classifier(model: keras.Model) -> keras.Model:
    """Return the network of an R-CNN as a classifier of crops, for fine-tuning; both share their weights.

    Raises:
        ValueError: if the model does not crop regions and score classes of them.

    Example:
        >>> train_classifier(region_classifier(model), batches, epochs=10, recipe="adamw-cosine")
    """
    merged = _crop_layer(model)[1]
    splits = [layer for layer in model.layers if layer.name == LOGITS]
    if not splits:
        raise ValueError(f"expected a model that classifies regions, {model.name!r} has no layer {LOGITS!r}")
    return keras.Model(merged.output, graph.only_input(splits[0]), name=f"{model.name}_classifier")


def _crop_layer(model: keras.Model) -> tuple[CropAndWarp, keras.layers.Layer]:
    """Return the layer that crops regions, and the one that makes an image of each crop.

    Raises:
        ValueError: if the model crops no regions.
    """
    crops = [layer for layer in model.layers if isinstance(layer, CropAndWarp)]
    if len(crops) != 1:
        raise ValueError(f"expected a model that crops regions once, {model.name!r} does it {len(crops)} times")
    (merged,) = graph.readers(model, crops[0].output)
    return crops[0], merged


class RegionFeatures:
    """The features of any number of regions, of which few are in memory at a time.

    Args:
        model: R-CNN with support vector machines.
        batch_size: number of regions that are computed at a time.

    Raises:
        ValueError: if the model lacks these layers.

    Example:
        >>> features = RegionFeatures(model)(image, boxes).classified
    """

    def __init__(self, model: keras.Model, batch_size: int = 64) -> None:
        check_positive_integer("batch_size", batch_size)
        self.crop, merged = _crop_layer(model)
        names = [layer.name for layer in model.layers]
        if SVM not in names:
            raise ValueError(f"expected support vector machines (head='svm'), {model.name!r} has no layer {SVM!r}")
        heads = [model.get_layer(name) for name in (SVM, REGRESSION) if name in names]
        self.network = keras.Model(merged.output, [graph.only_input(head) for head in heads])
        self.preprocessing, self.batch_size = preprocessing_of(model), batch_size

    def __call__(self, image: np.ndarray, boxes: np.ndarray) -> Features:
        """Compute the features of boxes.

        Args:
            image: picture, uint8 `(height, width, channels)`.
            boxes: `(n, 4)`, in its pixels.
        """
        pixels = self.preprocessing(image[None])
        found = []
        for start in range(0, max(len(boxes), 1), self.batch_size):
            part = boxes[start : start + self.batch_size]
            # Two sizes, for which the network is compiled: one for proposals, one for the few objects of a picture.
            size = FEW if len(part) <= FEW < self.batch_size else self.batch_size
            some = np.zeros((size, 4), np.float32)
            some[: len(part)] = part
            crops = crop_and_warp(pixels, some[None], self.crop.output_size, self.crop.padding, self.crop.mode)
            outputs = self.network.predict_on_batch(ops.convert_to_numpy(crops)[0])
            found.append([values[: len(part)] for values in outputs])
        joined = [np.concatenate(parts) for parts in zip(*found, strict=True)]
        return Features(joined[0], joined[1] if len(joined) > 1 else None)


def train_rcnn_heads(
    model: keras.Model,
    examples: Sequence[Example],
    proposals: Sequence[np.ndarray],
    *,
    cost: float = COST,
    strength: float = STRENGTH,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> None:
    """Train the support vector machines and, if there is one, the box regression of an R-CNN, in place.

    The network below does not change; fine-tune it before, see `region_classifier`. Positives of a class are its true
    boxes, negatives are regions that overlap each of them by less than 0.3, of which the hard ones are mined in one
    pass over the pictures. Box regression learns from regions that overlap an object by at least 0.6. Features are
    scaled to a mean norm of 20; the scale becomes a part of the weights, so that the layers read features as they are.

    Features of all regions are computed once, picture by picture; those of true boxes and of some regions twice more.

    Args:
        model: `RCNN(head="svm")`.
        examples: pictures with their instances, as `data.coco_instances` gives them; labels from 1.
        proposals: boxes `(n, 4)` of each picture, in its pixels.
        cost: factor C of the errors of the support vector machines. The published one suits some thousand objects; for
            few of them, it should be larger.
        strength: factor λ of the squared weights of the box regression; for few objects, it should be smaller.
        batch_size: number of regions that are computed at a time.
        seed: seed of all random choices.
        progress: whether to show progress bars.

    Raises:
        ValueError: if an argument is wrong, a label has no class in the model, or a class has no objects.
        ModuleNotFoundError: if scikit-learn is not installed.

    Example:
        >>> train_rcnn_heads(model, scenes, [proposal.boxes for proposal in proposals])
    """
    check_number("strength", strength, 0)
    if len(examples) != len(proposals):
        raise ValueError(f"expected proposals of {len(examples)} pictures, received those of {len(proposals)}")
    training = HeadTraining(model, examples, proposals, batch_size, seed, progress)
    layer, scale = model.get_layer(SVM), training.scales.classified
    kernel, bias = train_support_vectors(training.positives(), training.negatives(), cost=cost, seed=seed)
    layer.set_weights([kernel * scale, bias])
    if training.scales.regressed is not None:
        model.get_layer(REGRESSION).set_weights(training.regression(strength))


class HeadTraining:
    """The examples of both heads; see `train_rcnn_heads` for the arguments."""

    def __init__(
        self,
        model: keras.Model,
        examples: Sequence[Example],
        proposals: Sequence[np.ndarray],
        batch_size: int,
        seed: int,
        progress: bool,
    ) -> None:
        self.compute, self.examples, self.proposals = RegionFeatures(model, batch_size), examples, proposals
        self.classes, self.seed, self.progress = int(model.get_layer(SVM).units), seed, progress
        # Label, features, box and true box of regions that train the box regression.
        self.pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        self.scales = self._measured()

    def _tracked(self, numbers: Any, title: str) -> Iterator[int]:
        yield from track(numbers, title, total=len(numbers), disable=not self.progress, transient=True)

    def _measured(self) -> Scales:
        """Return the factors that give features the mean norm of 20."""
        random = np.random.default_rng(self.seed)
        norms: list[list[np.ndarray]] = []
        chosen = random.permutation(len(self.examples))[:MEASURED_PICTURES]
        for number in self._tracked(chosen, "measuring features"):
            example = self.examples[number]
            boxes = regions_of(example, self.proposals[number])
            found = self.compute(example["image"], random.permutation(boxes)[:MEASURED_BOXES])
            norms.append([np.linalg.norm(x, axis=1) for x in found if x is not None])
        means = [float(np.concatenate(parts).mean()) for parts in zip(*norms, strict=True)]
        if not means or not min(means) > 0:
            raise ValueError("expected regions with features other than 0 to train on")
        return Scales(NORM / means[0], NORM / means[1] if len(means) > 1 else None)

    def positives(self) -> list[np.ndarray]:
        """Return the scaled features of the objects of each class."""
        found: list[list[np.ndarray]] = [[] for _ in range(self.classes)]
        for number in self._tracked(range(len(self.examples)), "objects"):
            example = self.examples[number]
            boxes = regions_of(example, np.zeros((0, 4)))
            _, labels = overlaps_of(example, boxes)
            if len(labels) and not 1 <= labels.min() <= labels.max() <= self.classes:
                raise ValueError(
                    f"labels must be 1..{self.classes}, picture {number} has {sorted(set(labels.tolist()))}"
                )
            features = self.compute(example["image"], boxes).classified * self.scales.classified
            for label, one in zip(labels, features, strict=True):
                found[label - 1].append(one)
        return [np.array(features).reshape(len(features), -1) for features in found]

    def negatives(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the scaled features of all regions of a picture, and their overlaps with the objects of each class."""
        for number in self._tracked(range(len(self.examples)), "regions"):
            example = self.examples[number]
            boxes = regions_of(example, self.proposals[number])
            overlaps, labels = overlaps_of(example, boxes)
            features = self.compute(example["image"], boxes)
            if features.regressed is not None and len(labels):
                near = overlaps.max(axis=1) >= REGRESSED_OVERLAP
                best = overlaps[near].argmax(axis=1)
                objects = regions_of(example, np.zeros((0, 4)))
                scaled = features.regressed[near] * self.scales.regressed
                self.pairs.append((labels[best], scaled, boxes[near], objects[best]))
            by_class = np.zeros((len(boxes), self.classes), np.float32)
            for label in np.unique(labels):
                by_class[:, label - 1] = overlaps[:, labels == label].max(axis=1)
            yield features.classified * self.scales.classified, by_class

    def regression(self, strength: float) -> list[np.ndarray]:
        """Return kernel and bias of the box regression of all classes, from the pairs that `negatives` left."""
        labels, features, boxes, objects = (np.concatenate(parts) for parts in zip(*self.pairs, strict=True))
        learned = []
        for label in range(1, self.classes + 1):
            here = labels == label  # at least the true boxes themselves
            learned.append(train_box_regression(features[here], boxes[here], objects[here], strength=strength))
        kernels, biases = zip(*learned, strict=True)
        return [np.concatenate(kernels, axis=1) * self.scales.regressed, np.concatenate(biases)]
