"""TextonBoost on CamVid: texture-layout potentials alone, with location, with colour, and the whole random field.

    python benchmarks/texton_boost.py CAMVID [--rows texture-layout] [--release savedmodels]

All pictures are halved, to 240×180. The first call learns the texture-layout potentials, which all rows share; an
interrupted learning goes on. Each row leaves `ROW/scores.json` and is not computed again.
"""

import argparse
from pathlib import Path

import camvid
import keras

from keras_segattn import TextonBoost, training
from keras_segattn.segmentation import Colour, Edge, Location, TextonField, location_counts

SIZE = (180, 240)
ROWS = ("texture-layout", "location", "colour", "crf")


def learn(arguments):
    """Return the network, boosted; what is finished is loaded."""
    keras.utils.set_random_seed(0)
    model = TextonBoost(classes=camvid.CLASSES, stumps=arguments.rounds)
    training.train_texton_boost(
        model,
        camvid.batches(arguments.camvid, "train", model, size=SIZE),
        fraction=arguments.fraction,
        ignore_label=camvid.UNLABELLED,
        run_dir=arguments.output / "run",
    )
    return model


def field_of(row, arguments):
    """Return the labelling of a row, to which each row adds a potential."""
    masks = [mask.numpy()[0] for _, mask in camvid.batches(arguments.camvid, "train", size=SIZE)(0)]
    location = Location(location_counts(masks, camvid.CLASSES), power=arguments.location_power)
    colour, edge = Colour(power=arguments.colour_power), Edge(arguments.contrast, arguments.constant)
    count = ROWS.index(row)
    potentials = zip(("location", "colour", "edge"), (location, colour, edge), strict=True)
    return TextonField(**dict(list(potentials)[:count]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--fraction", type=float, default=0.003, help="Share of the features that a round tries.")
    parser.add_argument("--location-power", type=float, default=0.1)
    parser.add_argument("--colour-power", type=float, default=3.0)
    parser.add_argument("--contrast", type=float, default=45.0, help="Cost of an edge between equal colours.")
    parser.add_argument("--constant", type=float, default=10.0, help="Cost of any edge.")
    parser.add_argument("--output", type=Path, default=Path("out/texton_boost"))
    parser.add_argument("--release", type=Path, help="Write the network as DIRECTORY/textonboost_camvid.")
    arguments = parser.parse_args()
    model = learn(arguments)
    for row in arguments.rows:
        scores = arguments.output / row / "scores.json"
        if not scores.exists():
            labelling = field_of(row, arguments)
            camvid.write_scores(scores, camvid.scores_of(model, arguments.camvid, labelling, SIZE))
    camvid.print_table(arguments.output, ROWS)
    if arguments.release:
        # Rounded filters would choose other textons.
        camvid.release(model, "textonboost_camvid", arguments.release, SIZE, quantize=None)


if __name__ == "__main__":
    main()
