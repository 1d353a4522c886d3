"""Draws what the networks of scene labelling see in a street scene of CamVid.

    python benchmarks/camvid_pictures.py CAMVID --output docs

The networks are those that `multi_scale.py`, `recurrent_camvid.py`, `texton_boost.py` and `fcn_camvid.py` trained, with
their folders in RUNS; the pyramid, rCNN3 with three passes and TextonBoost are needed, and other rows are left out if
they are not trained. `--picture` is the number of the validation picture.
"""

import argparse
from pathlib import Path

import camvid
import fcn_camvid
import keras
import multi_scale
import numpy as np
import recurrent_camvid
import texton_boost
from keras import ops
from PIL import Image, ImageDraw, ImageFont

from keras_segattn import preprocessing_of, visualize
from keras_segattn.segmentation.recurrent_conv_net import depths
from keras_segattn.training import predict_mask

COLOURS = visualize.palette(camvid.CLASSES)
HALF = (180, 240)


def coloured(mask):
    """Return a picture of the classes, black where a pixel is unlabelled."""
    return np.concatenate([COLOURS, np.zeros((1, 3), np.uint8)])[np.minimum(mask, camvid.UNLABELLED)]


def legend():
    """Return a picture with the colour of each class."""
    page = Image.new("RGB", (256, 192), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=12)
    for number, (label, colour) in enumerate(zip(camvid.LABELS, COLOURS, strict=True)):
        x, y = 6 + number // 6 * 126, 6 + number % 6 * 30
        pen.rectangle([x, y, x + 20, y + 20], fill=tuple(int(part) for part in colour))
        pen.text((x + 26, y + 3), label, fill="black", font=font)
    return np.asarray(page)


def grey(values):
    """Return a picture of one channel, with 0 in the middle of black and white."""
    largest = np.abs(values).max() or 1
    return np.repeat(((values / largest + 1) * 127.5).astype(np.uint8)[..., None], 3, axis=-1)


def outputs(model, picture, names):
    """Return the outputs of several layers for one picture, in their order."""
    tensors = {name: model.get_layer(name).output for name in names}
    found = keras.Model(model.input, tensors)(preprocessing_of(model)(picture[None]))
    return [keras.tree.map_structure(lambda x: ops.convert_to_numpy(x)[0], found[name]) for name in names]


def scene(folder, number, size=None):
    """Return one validation picture, uint8, and its mask."""
    image, mask = next(iter(camvid.batches(folder, "val", size=size)(0).skip(number)))
    return image.numpy()[0].round().astype(np.uint8), mask.numpy()[0]


def pyramid(model, picture):
    """Draw the bands of the pyramid, luminance only, before and after local normalisation."""
    bands, *normalised = outputs(model, picture, ["pyramid", *(f"normalise_scale{n}" for n in (1, 2, 3))])
    drawn = [
        (f"{kind} {number}", grey(levels[number - 1][..., 0]))
        for kind, levels in (("band", bands), ("normalised", normalised))
        for number in (1, 2, 3)
    ]
    return visualize.panels(drawn, 3)


def passes(model, picture, truth):
    """Draw the labelling after each pass of the recurrent network."""
    drawn = [("picture", picture), ("truth", coloured(truth)), ("classes", legend())]
    for number, scores in enumerate(outputs(model, picture, [*depths(model), model.layers[-1].name]), start=1):
        margin = (len(scores) - len(truth)) // 2
        inner = scores[margin : margin + truth.shape[0], margin : margin + truth.shape[1]]
        drawn.append((f"after pass {number}", coloured(inner.argmax(axis=-1))))
    return visualize.panels(drawn, 3)


def strongest(model, picture, count=10):
    """Draw the texton map and the strongest features: a cross's rectangle, and the texton whose share it is."""
    (textons,) = outputs(model, picture, ["textons"])
    layer = model.get_layer("score")
    rectangles, texton, sharing, a = map(ops.convert_to_numpy, (layer.rectangles, layer.texton, layer.sharing, layer.a))
    colours = np.random.default_rng(0).integers(0, 256, (layer.textons, 3)).astype(np.uint8)
    drawn = [("picture", picture), ("textons", colours[textons])]
    centre = np.array(textons.shape) // 2
    for stump in np.argsort(-np.abs(a) * sharing.sum(axis=1))[:count]:
        page = Image.fromarray(np.where((textons == texton[stump])[..., None], np.uint8(255), picture // 2))
        pen, (top, left, bottom, right) = ImageDraw.Draw(page), rectangles[stump] + np.tile(centre, 2)
        pen.rectangle([left, top, right - 1, bottom - 1], outline="yellow")
        y, x = centre
        pen.line([x - 4, y, x + 4, y], fill="red")
        pen.line([x, y - 4, x, y + 4], fill="red")
        shared = [label for label, one in zip(camvid.LABELS, sharing[stump], strict=True) if one]
        more = " …" if len(shared) > 2 else ""
        drawn.append((f"{a[stump]:+.1f} {', '.join(shared[:2])}{more}", np.asarray(page)))
    return visualize.panels(drawn, 4)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("out"))
    parser.add_argument("--picture", type=int, default=40)
    parser.add_argument("--output", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    (picture, truth), half = (scene(arguments.camvid, arguments.picture, size) for size in (None, HALF))
    drawn = [("picture", picture), ("truth", coloured(truth)), ("classes", legend())]

    def label(title, model, image, labelling=None):
        if model is None:
            return None
        mask = predict_mask(model, image, preprocessing_of(model), labelling)
        drawn.append((title, coloured(mask)))
        return mask

    for row in fcn_camvid.ROWS:
        label(f"FCN-8s, {row}", camvid.stored(arguments.runs / "fcn_camvid" / row / "run"), picture)
    multi = {row: camvid.stored(arguments.runs / "multi_scale" / row / "2-classifier") for row in ("single", "pyramid")}
    for row in multi_scale.ROWS:
        title, labelling = "single scale" if row == "single" else row, multi_scale.LABELLINGS.get(row)
        label(title, multi["single" if row == "single" else "pyramid"], picture, labelling)
    for row, (network, instances, _) in recurrent_camvid.ROWS.items():
        trained = camvid.stored(arguments.runs / "recurrent_camvid" / row / "run")
        if trained is not None:
            recurrent = recurrent_camvid.build(row)
            recurrent.set_weights(trained.get_weights())
            label(f"{network}, {instances} passes" if instances > 1 else network, recurrent, half[0])
    boosted, found = camvid.stored(arguments.runs / "texton_boost" / "run"), {}
    for row, field in texton_boost.fields(arguments.camvid).items():
        found[row] = label(row if row == "texture-layout" else f"+ {row}", boosted, half[0], field)
    before_and_after = [
        ("picture", half[0]),
        ("truth", coloured(half[1])),
        ("classes", legend()),
        *(
            (f"{title} the edge potential", coloured(found[row]))
            for title, row in (("without", "colour"), ("with", "crf"))
        ),
    ]
    for name, page in {
        "labellings": visualize.panels(drawn, 5),
        "pyramid": pyramid(multi["pyramid"], picture),
        "passes": passes(recurrent, *half),
        "textons": strongest(boosted, half[0]),
        "crf": visualize.panels(before_and_after, 3),
    }.items():
        visualize.save(page, arguments.output / f"camvid_{name}.png")


if __name__ == "__main__":
    main()
