"""CamVid for the benchmarks of scene labelling: pictures, classes, one table row per network, released models.

    python benchmarks/camvid.py CAMVID savedmodels/fcn8s_camvid/1 savedmodels/fcn8s_camvid/fcn8s_camvid_float16.tflite

scores stored models on the validation pictures, as `segattn predict` labels them.

The folder holds `train` and `val`, each with `images` and `masks` of 360×480 pixels: 0..10 are classes, 11 is
unlabelled.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np
from rich.progress import track

from keras_segattn import data, export, facts_of, load, preprocessing_of, training
from keras_segattn.files import replaced
from keras_segattn.metrics import confusion_matrix, segmentation_scores

LABELS = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "cyclist"]
CLASSES = UNLABELLED = len(LABELS)


def pictures(folder, split):
    return data.folder(folder / split / "images", folder / split / "masks")


def batches(folder, split, model=None, batch_size=1, **options):
    """Return batches of pictures, prepared for a model or as they are, and masks."""
    prepare = None if model is None else preprocessing_of(model)
    return data.MaskBatches(
        pictures(folder, split),
        batch_size=batch_size,
        classes=CLASSES,
        ignore_label=UNLABELLED,
        preprocessing=prepare,
        **options,
    )


def stored(run):
    """Return the network that a finished training left in its run directory, or `None`."""
    path = run / "model.keras"
    return keras.saving.load_model(path, compile=False) if path.exists() else None


def scores_of(model, folder, labelling=None, size=None):
    """Score a model on the validation pictures, and measure its CPU seconds per picture."""
    validation = batches(folder, "val", model, size=size)
    image = next(iter(validation(0)))[0]
    model.predict_on_batch(image)  # compiles
    begin = time.process_time()
    model.predict_on_batch(image)
    network = time.process_time() - begin
    begin = time.process_time()
    found = training.evaluate_segmenter(model, validation, CLASSES, UNLABELLED, labelling)
    # A labelling works on each picture after the network; the network alone is measured without the scores.
    seconds = network if labelling is None else (time.process_time() - begin) / len(validation)
    wanted = {name: found[name] for name in ("pixel_accuracy", "mean_accuracy", "mean_iou")}
    iou = dict(zip(LABELS, np.asarray(found["iou"]).tolist(), strict=True))
    return {"parameters": model.count_params(), **wanted, "cpu_seconds_per_picture": seconds, "iou": iou}


def write_scores(path, scores):
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(scores, indent=2, default=float))


def print_table(output, rows):
    """Print the rows whose scores are in `output/ROW/scores.json`."""
    print("| row | parameters | global | class average | mean IoU | CPU s per picture |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        path = output / row / "scores.json"
        if path.exists():
            s = json.loads(path.read_text())
            shares = " | ".join(f"{100 * s[name]:.1f}" for name in ("pixel_accuracy", "mean_accuracy", "mean_iou"))
            print(f"| {row} | {s['parameters']:,} | {shares} | {s['cpu_seconds_per_picture']:.2f} |", flush=True)


def release(model, name, folder, size, initial="random weights", licence="", quantize="float16"):
    """Write `folder/name/1` for servers and a `.tflite` file beside it, both for pictures of one size."""
    if quantize == "float16":
        for weight in model.weights:
            weight.assign(keras.ops.cast(keras.ops.cast(weight, "float16"), "float32"))
    facts = facts_of(
        model,
        labels=LABELS,
        training=f"the 367 training pictures of CamVid (Brostow et al. 2008), from {initial}",
        licence=f"{licence}the page of CamVid names no licence, and asks to cite its authors",
    )
    sizes = {"image": size}
    print(export.saved_model(model, folder, 1, facts=facts, sizes=sizes, name=name).path)
    path = folder / name / f"{name}_{quantize or 'float32'}.tflite"
    print(export.tflite(model, path, quantize=quantize, facts=facts, sizes=sizes).path)


def scores_of_file(path, folder):
    """Score a stored model, which may give pictures another size, on the pixels of the whole masks."""
    model, matrix = load(path), np.zeros((CLASSES, CLASSES), np.int64)
    for image, mask in track(batches(folder, "val")(0), f"labelling with {path.name}", transient=True):
        found = model.predict(image.numpy()[0].round().astype(np.uint8))
        matrix += confusion_matrix(mask.numpy()[0], found.mask, CLASSES, UNLABELLED)
    return segmentation_scores(matrix)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("models", type=Path, nargs="+", help="Versions of SavedModels, or .tflite files.")
    arguments = parser.parse_args()
    print("| file | MB | global | class average | mean IoU |")
    print("|---|---|---|---|---|")
    for path in arguments.models:
        scores = scores_of_file(path, arguments.camvid)
        files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
        size = sum(one.stat().st_size for one in files) / 1e6
        shares = " | ".join(f"{100 * scores[name]:.1f}" for name in ("pixel_accuracy", "mean_accuracy", "mean_iou"))
        print(f"| {'/'.join(path.parts[-2:])} | {size:.1f} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
