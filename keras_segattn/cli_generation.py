"""The command of `segattn` that draws pictures out of noise."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

COLUMNS = 8


def sample(
    model: Annotated[
        str,
        typer.Option(
            help="dcgan_svhn, a generator of `segattn list`, or trained: a .keras or .tflite file, a SavedModel's "
            "folder, or a name under savedmodels/, such as dcgan_mnist."
        ),
    ],
    destination: Annotated[Path, typer.Option("--output", "-o", help="Picture to write.")],
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Unless --model is trained: a weight file, or the folder of arrays that DCGAN's authors published."
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many images.")] = 64,
    noise: Annotated[
        Literal["normal", "uniform"] | None, typer.Option(help="What the generator was trained with; default: normal.")
    ] = None,
    label: Annotated[
        int | None, typer.Option(help="Class of all images of a conditional generator; default: all in turn.")
    ] = None,
    seed: int = 0,
    scale: Annotated[int, typer.Option(min=1, help="Side of the square that a pixel becomes.")] = 2,
) -> None:
    """Draw images from a generator, side by side."""
    from keras_segattn import visualize

    images = open_generator(model, weights).draw(noise or "normal", count, seed, label)
    destination.parent.mkdir(parents=True, exist_ok=True)
    visualize.save(visualize.image_grid(images, min(COLUMNS, count), scale=scale), destination)
    typer.echo(destination)


def open_generator(name: str, weights: Path | None) -> Any:
    """The `ImageGenerator` that `--model` and `--weights` name.

    Raises:
        ValueError: if they name none.
    """
    import keras_segattn
    from keras_segattn.cli import load_model
    from keras_segattn.exported import find_exported
    from keras_segattn.exported_generator import keras_generator, load_generator
    from keras_segattn.generation import dcgan
    from keras_segattn.generation.dcgan_weights import released_list

    exported = find_exported(name)
    if exported is not None or name.endswith(".keras"):
        if weights is not None:
            raise ValueError(f"--weights is for a model that is built, {name} has its own")
        if exported is not None:
            return load_generator(exported)
        generator = load_model(Path(name))
    else:
        if weights is None:
            raise ValueError(f"no package ships weights of {name}: give --weights, or a trained model")
        path = str(released_list(weights, "gen") if weights.is_dir() else weights)
        if name == "dcgan_svhn":
            return keras_generator(dcgan.DCGANGenerator(path, **dcgan.SVHN))
        generator = keras_segattn.get_model(name, weights=path)
    return keras_generator(generator)
