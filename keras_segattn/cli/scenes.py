"""`segattn scenes`: compose pictures with exact masks to train detectors on."""

from pathlib import Path
from typing import Annotated

import typer


def scenes(
    stamps: Annotated[
        Path, typer.Argument(help="Stamps: tuxpaint-stamps-default_*.deb, or a folder with its contents.", exists=True)
    ],
    photographs: Annotated[
        Path, typer.Argument(help="Backgrounds: gcompris-qt-data_*.deb, or a folder of photographs.", exists=True)
    ],
    destination: Annotated[
        Path, typer.Option("--output", "-o", help="Directory for the splits train, validation and test.")
    ],
    train: Annotated[
        int, typer.Option(help="Number of training scenes; validation and test get 2/15 as many each.")
    ] = 1500,
) -> None:
    """Compose scenes from Tux Paint stamps on photographs, with exact masks as COCO JSON; splits share no stamp."""
    from keras_segattn import data as datasets

    for split, count in (("train", train), ("validation", max(1, train * 2 // 15)), ("test", max(1, train * 2 // 15))):
        typer.echo(datasets.TuxPaintScenes(split, count=count).write(stamps, photographs, destination / split))
