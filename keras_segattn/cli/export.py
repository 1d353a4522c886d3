"""`segattn export`: a trained model, or a builder with somebody's weights, for servers and phones."""

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
    model: Annotated[str, typer.Argument(help="A .keras file, or a builder of `segattn list` with --weights.")],
    destination: Annotated[
        Path, typer.Option("--output", "-o", help="A .tflite file, or else the base directory of SavedModels.")
    ],
    weights: Annotated[
        str | None, typer.Option(help="Weights of the builder: a file such as torchvision's .pth, or packaged ones.")
    ] = None,
    argument: Arguments = None,
    name: Annotated[str | None, typer.Option(help="Name of the SavedModel; default: the model's.")] = None,
    size: Sizes = None,
    quantize: Annotated[
        Literal["float16", "dynamic", "int8"] | None, typer.Option(help="Precision of a .tflite; default: float32.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of typical pictures, needed by int8.")
    ] = None,
    labels: Labels = None,
    vocabulary: Vocabularies = None,
    card: Card = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="Fact that using the model needs, as NAME=VALUE, such as beams=12; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Export a model for phones (OUT ends in .tflite) or for TensorFlow Serving (any other OUT).

    The report is measured on the written file, which appears only if every check passes.
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
    """The pictures of a folder that calibration uses as an array `(n, height, width, channels)`, prepared."""
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
