"""Trains Mask R-CNN and MNC in the same way on Tux Paint scenes, and scores them on scenes of unseen stamps.

    python benchmarks/tux_paint.py SCENES --rows align warp pool mnc5 mnc3 --epochs 5 --output out/tux_paint

SCENES holds train/, validation/ and test/ as `segattn scenes` writes them. Each row leaves `ROW/model.keras`,
`ROW/history.json` and `ROW/scores.json`; rows that have scores are not trained again.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np

import keras_segattn
from keras_segattn import data, export, training, visualize
from keras_segattn.ops.masks import paste_masks
from keras_segattn.ops.roi_align import roi_align
from keras_segattn.ops.roi_pool import roi_pool
from keras_segattn.ops.roi_warp import roi_warp

SIZE = (256, 256)
CLASSES = 6  # background, and the five of Tux Paint
SLOTS = 6
BATCH = 8
SHOWN = (4, 1, 7, 5)  # indices of the test scenes in the README's picture
RATE = 5e-4
SMALL = {
    "backbone": "efficientnet_lite0",
    "weights": "imagenet",
    "input_shape": (*SIZE, 3),
    "classes": CLASSES,
    "detections": {"count": 30},
}
PYRAMID = {
    "widths": {"proposals": 64, "boxes": 256, "masks": 64},
    "anchors": {"sizes": (16, 32, 64, 128, 256)},
    "proposals": {"count": 100, "before_nms": 200},
}
CASCADE = {
    "widths": {"proposals": 256, "boxes": 384, "masks": 128},
    "anchors": {"sizes": (32, 64, 128)},
    "proposals": {"count": 100, "before_nms": 400, "least_side": 4.0},
}
CHOICE = training.RegionChoice(proposals=300, proposals_before_nms=300, regions=64, region_positives=16)


def build(row):
    """Build the model of a row and its trainer."""
    keras.utils.set_random_seed(0)
    if row in ("align", "warp", "pool"):
        model = keras_segattn.MaskRCNN(**SMALL, **PYRAMID, roi_operator=row)
        trainer = training.InstanceTrainer
    else:
        # A pixel of the feature map covers 16 pixels of the small pictures, so boxes are not rounded to it.
        cascade = {"stages": {"mnc5": 5, "mnc3": 3}[row], "quantize": False}
        model = keras_segattn.MNC(**SMALL, **CASCADE, cascade=cascade)
        trainer = training.CascadeTrainer
    training.freeze_batch_norm(model)
    return model, trainer(model, CHOICE)


def scenes(folder):
    return data.coco_instances(folder / "annotations.json", folder / "images")


def train(row, folder, epochs, output):
    model, trainer = build(row)
    batches = data.InstanceBatches(
        scenes(folder / "train"),
        batch_size=BATCH,
        size=SIZE,
        slots=SLOTS,
        preprocessing=keras_segattn.preprocessing_of(model),
        flip=True,
        scale=(0.7, 1.3),
        shuffle=True,
        cache=True,
    )
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, epochs * len(batches) - 100, warmup_target=RATE, warmup_steps=100
    )
    trainer.compile(keras.optimizers.AdamW(rate, weight_decay=1e-2, clipnorm=5.0), jit_compile=False)
    output.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    history = trainer.fit(batches, epochs=epochs, verbose=2)
    minutes = (time.perf_counter() - started) / 60
    model.save(output / "model.keras")
    scores = {
        split: {
            kind: {name: value for name, value in part.items() if not isinstance(value, dict | list)}
            for kind, part in training.evaluate_instances(model, scenes(folder / split), progress=False).items()
        }
        for split in ("validation", "test")
    }
    (output / "history.json").write_text(json.dumps(history.history))
    (output / "scores.json").write_text(
        json.dumps({"minutes": minutes, "parameters": model.count_params(), **scores}, indent=2, default=float)
    )


def release(model, folder, destination):
    """Write `destination/maskrcnn_tux/1` for servers, with weights rounded to float16, so that they compress."""
    for weight in model.weights:
        weight.assign(keras.ops.cast(keras.ops.cast(weight, "float16"), "float32"))
    labels = list(scenes(folder / "test").class_names.values())
    facts = keras_segattn.facts_of(
        model,
        labels=labels,
        training="scenes of Tux Paint's stamps pasted on GCompris' photographs; backbone trained on ImageNet",
        licence="backbone Apache-2.0; stamps GPL-2; photographs CC BY-SA, CC0, GPL",
    )
    print(export.saved_model(model, destination, 1, facts=facts, name="maskrcnn_tux").path)


def exports(model, folder, destination):
    """Print a table of the exported row `align`, and of a network for phones; examples and sizes as in the README."""
    calibration = [example["image"][None].astype("float32") for example in scenes(folder / "validation")[:24]]
    preprocess = keras_segattn.preprocessing_of(model)
    examples = np.concatenate([preprocess(image) for image in calibration])
    phone = keras_segattn.MaskRCNN(**SMALL | {"input_shape": (320, 320, 3), "weights": None}, **PYRAMID)
    phone.set_weights(model.get_weights())  # weights do not depend on the size
    large = np.stack([keras.ops.image.resize(image, (320, 320)) for image in examples])
    destination.mkdir(parents=True, exist_ok=True)
    print("| network | precision | MiB | ms | delegated | int8 operators | detections |")
    print("|---|---|---|---|---|---|---|")
    for name, network, inputs, quantizations in (
        ("256 px", model, examples, (None, "float16", "dynamic", "int8")),
        ("320 px, 100 proposals", phone, large, (None, "dynamic", "int8")),
    ):
        for precision in quantizations:
            path = destination / f"{name.split()[0]}_{precision or 'float32'}.tflite"
            report = export.tflite(network, path, quantize=precision, calibration=inputs)
            runtime = report.runtimes[0]
            found = next((check.measured for check in report.checks if "detections" in check.name), "")
            cells = f"{report.size_bytes / 2**20:.1f} | {runtime.latency_ms:.0f} | {runtime.delegated_share:.0%}"
            print(
                f"| {name} | {precision or 'float32'} | {cells} | {sum(report.integer_operators.values())} | {found} |"
            )


def pictures(output, folder, destination):
    """Draw the README's pictures: detections, and one object as the three region operators see it."""
    examples = scenes(folder / "test")
    names = list(examples.class_names.values())
    model = keras.saving.load_model(output / "align" / "model.keras", compile=False)
    application = keras_segattn.load(model, labels=names)
    shown = [
        (f"scene {number}", np.asarray(application.draw(examples[number]["image"], score_threshold=0.5)))
        for number in SHOWN
    ]
    visualize.save(visualize.panels(shown, columns=4), destination / "maskrcnn_tux.png")

    example = examples[SHOWN[0]]
    box = example["objects"]["bbox"][:1][None]
    crops = [("the object", _cut(example["image"], box[0, 0]))]
    pixels = example["image"][None].astype("float32")
    for title, operator in (("RoIAlign 28", roi_align), ("RoIWarp 28", roi_warp), ("RoIPool 28", roi_pool)):
        coarse = keras.ops.average_pool(pixels, 4)  # in place of a feature map of stride 4, as it can be looked at
        crop = keras.ops.convert_to_numpy(operator(coarse, box, 28, 1 / 4))[0, 0]
        crops.append((title, crop.round().clip(0, 255).astype("uint8")))
    visualize.save(visualize.panels(crops, columns=4), destination / "region_operators.png")
    if (output / "mnc5" / "model.keras").exists():
        stages(keras.saving.load_model(output / "mnc5" / "model.keras", compile=False), example, names, destination)


def stages(model, example, names, destination):
    """Draw a scene after each stage of the cascade."""
    image = example["image"]
    layers = ("stage_bridge", "mask_split", "mask_split_ext", "all_logits")
    tensors = {name: model.get_layer(name).output for name in layers}
    tensors["proposals"] = model.get_layer("proposals").output[0]
    x = keras.ops.convert_to_numpy(keras_segattn.preprocessing_of(model)(image[None]))
    seen = {k: keras.ops.convert_to_numpy(v)[0] for k, v in keras.Model(model.input, tensors)(x).items()}
    probabilities = np.exp(seen["all_logits"]) / np.exp(seen["all_logits"]).sum(axis=-1, keepdims=True)
    count = len(seen["proposals"])
    shown = []
    for title, boxes, masks, scores in (
        ("stage 3: masks and classes", "proposals", "mask_split", probabilities[:count]),
        ("stage 5: on refined boxes", "stage_bridge", "mask_split_ext", probabilities[count:]),
    ):
        best = np.argsort(-scores[:, 1:].max(axis=-1))[:12]
        chosen, size = seen[boxes][best], round(seen[masks].shape[-1] ** 0.5)
        inside = 1 / (1 + np.exp(-seen[masks][best].reshape(-1, size, size)))
        frames = keras.ops.convert_to_numpy(paste_masks(inside[None], chosen[None], *image.shape[:2]))[0] > 0.4
        classes = scores[best, 1:].argmax(axis=-1) + 1
        if not shown:
            shown.append(
                ("stage 1: proposals", np.asarray(visualize.draw_instances(image, chosen, classes, names=[""] * 5)))
            )
            bare = visualize.draw_instances(image, chosen, classes, masks=frames, names=[""] * 5)
            shown.append(("stage 2: masks", np.asarray(bare)))
        drawn = visualize.draw_instances(image, chosen, classes, scores[best, 1:].max(axis=-1), frames, names)
        shown.append((title, np.asarray(drawn)))
    found = keras_segattn.load(model, labels=names).draw(image, score_threshold=0.5)
    shown.append(("after voting", np.asarray(found)))
    visualize.save(visualize.panels(shown, columns=5), destination / "mnc_stages.png")


def _cut(image, box):
    x1, y1, x2, y2 = box.astype(int)
    return image[y1:y2, x1:x2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--rows", nargs="+", default=["align", "warp", "pool", "mnc5", "mnc3"])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("out/tux_paint"))
    parser.add_argument("--release", type=Path, help="Write the row `align` as DIRECTORY/maskrcnn_tux/1.")
    parser.add_argument("--exports", type=Path, help="Write the row `align` as .tflite files to this directory.")
    parser.add_argument("--pictures", type=Path, help="Write the README's pictures to this directory.")
    arguments = parser.parse_args()
    for row in arguments.rows:
        if not (arguments.output / row / "scores.json").exists():
            train(row, arguments.scenes, arguments.epochs, arguments.output / row)
    if arguments.release:
        model = keras.saving.load_model(arguments.output / "align" / "model.keras", compile=False)
        release(model, arguments.scenes, arguments.release)
    if arguments.exports:
        model = keras.saving.load_model(arguments.output / "align" / "model.keras", compile=False)
        exports(model, arguments.scenes, arguments.exports)
    if arguments.pictures:
        pictures(arguments.output, arguments.scenes, arguments.pictures)
    print("| row | parameters | mask AP50 | mask AP | box AP50 | box AP | AP^r 0.7 |")
    print("|---|---|---|---|---|---|---|")
    for row in arguments.rows:
        s = json.loads((arguments.output / row / "scores.json").read_text())
        t = s["test"]
        values = (t["segm"]["AP50"], t["segm"]["AP"], t["bbox"]["AP50"], t["bbox"]["AP"], t["region"]["AP70"])
        cells = " | ".join(f"{value:.3f}" for value in values)
        print(f"| {row} | {s['parameters']:,} | {cells} |")


if __name__ == "__main__":
    main()
