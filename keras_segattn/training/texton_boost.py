"""Learning of textons and of boosted stumps on texture-layout features, without gradients; resumable."""

import csv
import math
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from rich.progress import track

from keras_segattn.arguments import check_number, check_positive_integer
from keras_segattn.facts import Facts
from keras_segattn.files import replaced
from keras_segattn.graph import functional
from keras_segattn.layers import NearestTexton, TextonFilters, TextureLayout
from keras_segattn.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from keras_segattn.training.joint_boosting import best_stump, constants, stump, sums_of
from keras_segattn.training.recorder import prepare, save_with_facts
from keras_segattn.training.source import Data, Source, check_batch, check_model
from keras_segattn.training.textons import cluster_centres, whitening
from keras_segattn.training.texture_samples import TextureSamples

# Name of the layer that whitens the responses of the filters.
WHITENING = "whitening"


def train_texton_boost(
    model: keras.Model,
    data: Data,
    *,
    spacing: int = 5,
    rectangles: int = 100,
    box: tuple[int, int] | None = None,
    fraction: float = 0.003,
    thresholds: int = 25,
    texton_pixels: int = 100_000,
    ignore_label: int | None = 255,
    seed: int = 0,
    run_dir: str | PathLike[str] | None = None,
    resume: bool = True,
    checkpoint_rounds: int = 50,
    progress: bool = True,
    facts: Facts | None = None,
) -> np.ndarray:
    """Learn textons and jointly boosted stumps (Shotton et al., IJCV 2009, sections 3.1 to 3.3); the defaults are its.

    The filter responses of all pictures are whitened, and k-means of some of them gives the textons. Features are all
    pairs of a random rectangle and a texton. Each round of boosting takes a random fraction of them, and for each
    feature evenly spaced thresholds, and adds the stump that reduces the weighted squared error most; see
    `training.joint_boosting`. A stump for every round is already in the model, so that the first `n` stumps are the
    model of `n` rounds.

    No feature is held in memory; those of a round are computed one after the other. A round needs 8 bytes per example
    and class for the weights, 12 bytes per pixel for places, and one byte per example and tried feature. The run
    directory holds `checkpoint.npz`, `history.csv`, `settings.json` and, at the end, `model.keras`. If training is
    killed, the same call goes on from the checkpoint and ends with the stumps of an uninterrupted run.

    Args:
        model: model of the layers `TextonFilters`, `NearestTexton` and `TextureLayout`, with logits as output. Its
            weights are learned in place; its number of stumps is the number of rounds.
        data: batches `(image float32 (b, h, w, channels), mask integer (b, h, w))`, as `train_segmenter` takes them;
            two passes over the first epoch are made. Batches may differ in size.
        spacing: distance in pixels between the pixels that are examples, in both directions.
        rectangles: number of random rectangles.
        box: (height, width) in pixels of the box around a pixel in which the corners of rectangles lie; the default
            covers half of the largest picture.
        fraction: share of the features that each round tries.
        thresholds: number of thresholds of each feature, evenly spaced from 0 to its largest value.
        texton_pixels: number of pixels whose responses are clustered.
        ignore_label: label of pixels that are no examples, or `None`.
        seed: seed of all random choices.
        run_dir: directory for the files, made if missing; `None` writes nothing.
        resume: whether to go on from the run directory's checkpoint.
        checkpoint_rounds: number of rounds after which a checkpoint is written.
        progress: whether to show progress bars.
        facts: Facts that are stored with the model; `None` stores what `facts_of` finds.

    Returns:
        Mean weight `exp(-z H)` of the examples and classes after each round, the exponential loss, float64
        `(rounds,)`.

    Raises:
        TypeError: if the model has other layers.
        ValueError: if an argument is wrong, the data do not fit the model, no pixel is labelled, or all pictures are of
            one colour.
        CheckpointError: if the checkpoint is damaged, or belongs to another model or other settings.
        ModuleNotFoundError: if scikit-learn is not installed.

    Example:
        >>> model = TextonBoost(classes=11, stumps=1000)
        >>> batches = data.MaskBatches(streets, batch_size=1, classes=11, preprocessing=preprocessing_of(model))
        >>> losses = train_texton_boost(model, batches, run_dir="run")
    """
    numbers = {
        "spacing": spacing,
        "rectangles": rectangles,
        "thresholds": thresholds,
        "texton_pixels": texton_pixels,
        "checkpoint_rounds": checkpoint_rounds,
    }
    for name, value in numbers.items():
        check_positive_integer(name, value)
    check_number("fraction", fraction, 0, 1)
    model = functional(model)
    classes, parts, source = check_model(model), Parts.of(model), Source.of(data, "data")
    if classes < 2:
        raise ValueError(f"stumps are shared by at least 2 classes, {model.name!r} has {classes}")
    check_batch(source.first_batch(0), model, ignore_label, source.name)
    settings = numbers | {"box": box, "fraction": fraction, "ignore_label": ignore_label, "seed": seed}
    settings = {key: value for key, value in settings.items() if key != "checkpoint_rounds"}
    folder = None if run_dir is None else Path(run_dir)
    done = Progress(settings=settings)
    checkpoint = None if folder is None else folder / "checkpoint.npz"
    if folder is not None:
        prepare(folder, settings)
    if checkpoint is not None and resume and checkpoint.exists():
        done = load_checkpoint(checkpoint, model, NoOptimizer(), settings)
    else:
        parts.learn_textons(source, texton_pixels, seed, progress)

    maps, masks = parts.texton_maps(source, model, ignore_label, progress)
    layout = parts.layout
    samples = TextureSamples(maps, masks, layout.textons, spacing, ignore_label, layout.area)
    pool = random_rectangles(rectangles, box or half_of(samples.sizes.max(axis=0)), seed)
    boosting = Boosting(samples, pool, classes, layout.textons, layout.stumps)
    boosting.replay(layout, done.epoch)
    candidates = min(len(pool) * layout.textons, max(1, round(fraction * len(pool) * layout.textons)))
    losses = [row["loss"] for row in done.history]
    for number in track(range(done.epoch, layout.stumps), "boosting", disable=not progress, transient=True):
        losses.append(boosting.round(number, np.random.default_rng([seed, number]), candidates, thresholds))
        last = number + 1 == layout.stumps
        if folder is not None and checkpoint is not None and (last or (number + 1) % checkpoint_rounds == 0):
            boosting.write_to(layout)
            history = tuple({"loss": loss} for loss in losses)
            save_checkpoint(checkpoint, model, NoOptimizer(), Progress(number + 1, 0, history, None, settings))
            write_history(folder / "history.csv", losses)
    boosting.write_to(layout)
    if folder is not None:
        save_with_facts(model, folder / "model.keras", facts)
    return np.array(losses)


class NoOptimizer:
    """Stands for the optimizer in a checkpoint of a training without gradients."""

    variables: tuple[()] = ()


class Parts(NamedTuple):
    """The parts of a model that are learned one after the other.

    Attributes:
        filters: model from images to filter responses.
        whitening: layer that whitens the responses.
        nearest: layer that holds the textons.
        textons: model from images to texton maps.
        layout: layer of the stumps.
    """

    filters: keras.Model
    whitening: keras.layers.Dense
    nearest: NearestTexton
    textons: keras.Model
    layout: TextureLayout

    @classmethod
    def of(cls, model: keras.Model) -> "Parts":
        """Find the parts of a model; raise `TypeError` if they are missing."""
        found: list[Any] = [[layer for layer in model.layers if type(layer) is kind] for kind in LAYERS]
        named = [layer for layer in model.layers if layer.name == WHITENING and isinstance(layer, keras.layers.Dense)]
        if [*map(len, found), len(named)] != [1] * 4:
            raise TypeError(
                f"expected a model with one layer each of {', '.join(kind.__name__ for kind in LAYERS)} and one called "
                f"{WHITENING!r}, received {model.name!r} of {', '.join(type(layer).__name__ for layer in model.layers)}"
            )
        (filters,), (nearest,), (layout,) = found
        first, second = (keras.Model(model.input, layer.output) for layer in (filters, nearest))
        return cls(first, named[0], nearest, second, layout)

    def learn_textons(self, source: Source, pixels: int, seed: int, progress: bool) -> None:
        """Learn whitening and textons from the filter responses of all pictures."""
        rng = np.random.default_rng(seed)
        share = -(-pixels // source.steps)
        count, total, squares, some = 0, np.zeros(()), np.zeros(()), []
        for image, _ in batches(source, "filtering", progress):
            found = self.filters.predict_on_batch(image)
            found = keras.ops.convert_to_numpy(found).reshape(-1, found.shape[-1])
            some.append(found[rng.choice(len(found), min(share, len(found)), replace=False)])
            found = found.astype("float64")
            count, total, squares = count + len(found), total + found.sum(axis=0), squares + found.T @ found
        mean = total / count
        kernel, bias = whitening(mean, squares / count - np.outer(mean, mean))
        self.whitening.set_weights([kernel, bias])
        points = np.concatenate(some) @ kernel + bias
        self.nearest.set_weights([cluster_centres(points, self.nearest.textons, seed)])

    def texton_maps(
        self, source: Source, model: keras.Model, ignore_label: int | None, progress: bool
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the texton map and the mask of every picture, in the smallest integers."""
        dtype = np.min_scalar_type(self.nearest.textons)
        maps, masks = [], []
        for number, (image, mask) in enumerate(batches(source, "textons", progress)):
            check_batch((image, mask), model, ignore_label, f"batch {number} of {source.name}")
            maps += [*keras.ops.convert_to_numpy(self.textons.predict_on_batch(image)).astype(dtype)]
            masks += [*keras.ops.convert_to_numpy(mask)]
        return maps, masks


LAYERS: tuple[type, ...] = (TextonFilters, NearestTexton, TextureLayout)


class Boosting:
    """State of the boosting: the stumps so far, and the weights of the examples that follow from them.

    Args:
        samples: examples and their features.
        pool: rectangles, integers `(rectangles, 4)`.
        classes: number of classes.
        textons: number of textons.
        stumps: number of rounds in all.
    """

    def __init__(self, samples: TextureSamples, pool: np.ndarray, classes: int, textons: int, stumps: int) -> None:
        self.samples, self.pool, self.textons = samples, pool, textons
        self.targets = samples.labels, np.arange(len(samples.labels))
        self.weights = np.ones((len(samples.labels), classes))
        # Stumps that are not learned yet add nothing to any score.
        self.stumps: dict[str, np.ndarray] = {
            "rectangles": np.zeros((stumps, 4), "int32"),
            "textons": np.zeros(stumps, "int32"),
            "thresholds": np.zeros(stumps, "float32"),
            "sharing": np.zeros((stumps, classes), "float32"),
            "a": np.zeros(stumps, "float32"),
            "b": np.zeros(stumps, "float32"),
            "k": np.zeros((stumps, classes), "float32"),
        }

    def round(self, number: int, rng: np.random.Generator, candidates: int, thresholds: int) -> float:
        """Learn one stump, and change the weights; return their mean.

        Args:
            number: index of the stump.
            rng: generator of the round.
            candidates: number of features that are tried.
            thresholds: number of thresholds of each feature.
        """
        tried = rng.choice(len(self.pool) * self.textons, candidates, replace=False)
        dtype = np.min_scalar_type(thresholds)
        bins, largest = np.empty((candidates, len(self.samples.labels)), dtype), np.empty(candidates)

        def evaluate(row: int) -> None:
            feature = tried[row]
            values = self.samples.values(feature % self.textons, self.pool[feature // self.textons])
            largest[row] = values.max()
            # Number of the thresholds 0, 1 … thresholds - 1 times the step that the feature exceeds.
            values *= np.float32(thresholds / (largest[row] or 1))
            bins[row] = np.minimum(np.ceil(values, out=values), thresholds, out=values)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            [*pool.map(evaluate, range(candidates))]
        sums = sums_of(bins, self.samples.labels, self.weights, thresholds)
        choice = best_stump(sums)
        feature, texton = divmod(int(tried[choice.feature]), self.textons)
        one = {name: array[number] for name, array in self.stumps.items()}
        one["rectangles"][:] = self.pool[feature]
        self.stumps["textons"][number] = texton
        self.stumps["thresholds"][number] = largest[choice.feature] * choice.threshold / thresholds
        one["sharing"][:] = choice.sharing
        above = self.samples.exceeds(texton, self.pool[feature], self.stumps["thresholds"][number])
        self.fit(number, above, sums.p, sums.t)
        self.reweight(number, above)
        return float(self.weights.mean())

    def fit(self, number: int, above: np.ndarray, p: np.ndarray, t: np.ndarray) -> None:
        """Fit `a`, `b` and `k` of a stump to where its feature exceeds its threshold."""
        sharing = self.stumps["sharing"][number] > 0
        q = self.weights[above].sum(axis=0)
        labels, places = (part[above] for part in self.targets)
        u = 2 * np.bincount(labels, self.weights[places, labels], len(p)) - q
        a, b, cost = stump(*(part[sharing].sum() for part in (p, t, q, u)))
        if not np.isfinite(cost):  # no threshold splits the examples, so that every class has its constant
            sharing[:] = False
            self.stumps["sharing"][number] = 0
        self.stumps["a"][number], self.stumps["b"][number] = a, b
        self.stumps["k"][number] = np.where(sharing, 0, constants(p, t)[0])

    def reweight(self, number: int, above: np.ndarray) -> None:
        """Multiply the weights by `exp(-z h)`, where `h` is what a stump gives an example."""
        one = {name: array[number].astype("float64") for name, array in self.stumps.items()}
        h = np.stack([np.where(one["sharing"] > 0, one["b"] + one["a"] * side, one["k"]) for side in (0, 1)])
        side, (labels, places) = above.astype("int8"), self.targets
        own = self.weights[places, labels] * np.exp(-h)[side, labels]
        self.weights *= np.exp(h)[side]
        self.weights[places, labels] = own

    def replay(self, layout: TextureLayout, rounds: int) -> None:
        """Take the first stumps of a model, and repeat their changes of the weights."""
        if rounds:
            for name, weight in weights_of(layout).items():
                self.stumps[name][:rounds] = keras.ops.convert_to_numpy(weight)[:rounds]
        for number in range(rounds):
            one = {name: array[number] for name, array in self.stumps.items()}
            self.reweight(number, self.samples.exceeds(int(one["textons"]), one["rectangles"], one["thresholds"]))

    def write_to(self, layout: TextureLayout) -> None:
        """Write the stumps into a model."""
        for name, weight in weights_of(layout).items():
            weight.assign(self.stumps[name])


def weights_of(layout: TextureLayout) -> Mapping[str, keras.Variable]:
    """Return the weights of the stumps by their names."""
    return {weight.name: weight for weight in layout.weights}


def batches(source: Source, what: str, progress: bool) -> Iterator[Any]:
    """Yield the batches of the first epoch, with a progress bar."""
    found, steps = source.epochs(0, 1)
    if isinstance(found, keras.utils.PyDataset):
        found = map(found.__getitem__, range(found.num_batches))
    yield from track(found, what, total=steps or source.steps, disable=not progress, transient=True)


def half_of(size: np.ndarray) -> tuple[int, int]:
    """Return the (height, width) of a box of the shape of a picture that covers half of it."""
    height, width = (max(1, round(side / math.sqrt(2))) for side in size.tolist())
    return height, width


def random_rectangles(count: int, box: tuple[int, int], seed: int) -> np.ndarray:
    """Draw rectangles whose corners are uniform in a box around the pixel.

    Returns:
        int32 `(count, 4)`: first row, first column, last row + 1 and last column + 1, relative to the pixel.

    Raises:
        ValueError: if the box is not (height, width) of at least one pixel.
    """
    if len(box) != 2:
        raise ValueError(f"box must be (height, width) in pixels, received {box!r}")
    rng, spans = np.random.default_rng(seed), []
    for side in box:
        check_positive_integer("box", side)
        first, last = np.sort(rng.integers(-(side // 2), side - side // 2, (2, count)), axis=0)
        spans.append((first, last + 1))
    (top, bottom), (left, right) = spans
    return np.stack([top, left, bottom, right], axis=1).astype("int32")


def write_history(path: Path, losses: list[float]) -> None:
    """Write a table of the rounds and the losses after them."""
    with replaced(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["round", "loss"])
        writer.writerows(enumerate(losses, 1))
