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

SIZE, STUMPS = (180, 240), 1000
ROWS = ("texture-layout", "location", "colour", "crf")
# Chosen on 13 of the validation pictures; the paper's powers of the colour potential are for other classes.
COLOUR, EDGE = Colour(power=0.1), Edge(contrast=6.0, constant=2.0)


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


def fields(folder):
    """Return the labelling of each row: each adds a potential."""
    masks = [mask.numpy()[0] for _, mask in camvid.batches(folder, "train", size=SIZE)(0)]
    location = Location(location_counts(masks, camvid.CLASSES))
    potentials = (
        TextonField(),
        TextonField(location),
        TextonField(location, COLOUR),
        TextonField(location, COLOUR, EDGE),
    )
    return dict(zip(ROWS, potentials, strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--rounds", type=int, default=STUMPS)
    parser.add_argument("--fraction", type=float, default=0.003, help="Share of the features that a round tries.")
    parser.add_argument("--output", type=Path, default=Path("out/texton_boost"))
    parser.add_argument("--release", type=Path, help="Write the network as DIRECTORY/textonboost_camvid.")
    arguments = parser.parse_args()
    model = learn(arguments)
    paths = {row: arguments.output / row / "scores.json" for row in arguments.rows}
    if waiting := {row: path for row, path in paths.items() if not path.exists()}:
        labellings = fields(arguments.camvid)  # counts the pixels of all training masks
        for row, path in waiting.items():
            camvid.write_scores(path, camvid.scores_of(model, arguments.camvid, labellings[row], SIZE))
    camvid.print_table(arguments.output, ROWS)
    if arguments.release:
        # Rounded filters would choose other textons.
        camvid.release(model, "textonboost_camvid", arguments.release, SIZE, quantize=None)


if __name__ == "__main__":
    main()
