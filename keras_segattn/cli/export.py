"""`segattn export`: write a trained model, or a builder with a file of weights, for servers or phones."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from keras_segattn.cli.output import Json, messages, report
from keras_segattn.cli.parsing import (
    Arguments,
    Card,
    Labels,
    Sizes,
    Vocabularies,
    parse_arguments,
    parse_labels,
    parse_sizes,
    parse_vocabularies,
)


def export(
    model: Annotated[
        str, typer.Argument(help="A .keras file, or the name of a builder (see `segattn list`) with --weights.")
    ],
    destination: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="File to write if it ends in .tflite, else base directory for the SavedModel."
        ),
    ],
    weights: Annotated[
        str | None,
        typer.Option(help="Weights for the builder: a file (such as torchvision's .pth) or a packaged name."),
    ] = None,
    argument: Arguments = None,
    name: Annotated[str | None, typer.Option(help="Name of the SavedModel; default: the name of the model.")] = None,
    size: Sizes = None,
    quantize: Annotated[
        Literal["float16", "dynamic", "int8"] | None, typer.Option(help="Quantise a .tflite; default: keep float32.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of typical pictures; --quantize int8 needs it."),
    ] = None,
    labels: Labels = None,
    vocabulary: Vocabularies = None,
    card: Card = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="Setting of the exported model, stored with it, as NAME=VALUE, such as beams=12; may be repeated."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Export a model to TFLite for phones (--output ends in .tflite) or to a SavedModel for TensorFlow Serving.

    The written file is run in independent runtimes and compared with the model;
    it appears only if every check passes. The report shows what was measured.
    """
    phone = destination.suffix == ".tflite"
    if not phone and (quantize is not None or calibration is not None):
        raise ValueError("--quantize and --calibration are for .tflite files; a server runs float32")
    if phone and name is not None:
        raise ValueError("--name is of a SavedModel; a .tflite has that of its file")
    from keras_segattn import export as exporters
    from keras_segattn.application import open_model
    from keras_segattn.fields import Picture

    told: dict[str, Any] = {
        "card": card,
        "labels": parse_labels(labels),
        "vocabularies": parse_vocabularies(vocabulary),
        "options": parse_arguments(option) or None,
    }
    network, facts = open_model(model, weights=weights, arguments=parse_arguments(argument), **told)
    sizes = parse_sizes(size, [key for key, kind in facts.inputs.items() if isinstance(kind, Picture)])
    with messages.status("exporting and verifying"):
        if phone:
            samples = None if calibration is None else read_calibration(calibration, network, facts, sizes)
            done = exporters.tflite(
                network, destination, facts=facts, quantize=quantize, calibration=samples, sizes=sizes
            )
        else:
            done = exporters.saved_model(network, destination, facts=facts, sizes=sizes, name=name)
    report(done, as_json)


def read_calibration(directory: Path, network: Any, facts: Any, sizes: dict[str, tuple[int, ...]]) -> Any:
    """Read the first `MAX_SAMPLES` pictures of a folder, normalised for the model: `(n, height, width, channels)`."""
    import numpy as np

    from keras_segattn.data.examples import read
    from keras_segattn.data.pictures import pictures_in
    from keras_segattn.export.mobile.calibration import MAX_SAMPLES

    if len(facts.given) != 1:
        raise ValueError(f"a folder calibrates a model of one picture; this one takes {', '.join(facts.given)}")
    ((name, kind),) = facts.given.items()
    tensor = next(tensor for tensor in network.inputs if tensor.name == name)
    shape = (*sizes.get(name, tensor.shape[1:3]), tensor.shape[-1])
    arrays = [read(kind, shape, path, {}).array for path in pictures_in(directory)[:MAX_SAMPLES]]
    return np.asarray(kind.prepare(np.stack(arrays)))
