"""`segattn scenes`: pictures with exact masks to train detectors on."""

from pathlib import Path
from typing import Annotated

import typer


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
