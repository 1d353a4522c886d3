"""Trains Mask R-CNN and MNC on Tux Paint scenes, the same way each, and scores them on scenes of unseen stamps.

    python benchmarks/tux_paint.py SCENES --rows align warp pool mnc5 mnc3 --epochs 5 --output out/tux_paint

SCENES holds train/, validation/ and test/ as `segattn scenes` writes them. Each row leaves `ROW/model.keras`,
`ROW/history.json` and `ROW/scores.json`; rows that have scores are not trained again.
"""

import argparse
import json
import time
from pathlib import Path

import keras

import keras_segattn
from keras_segattn import data, training

SIZE = (256, 256)
CLASSES = 6  # background and Tux Paint's five
SLOTS = 6
BATCH = 8
RATE = 5e-4
SMALL = {
    "backbone": "efficientnet_lite0",
    "weights": "imagenet",
    "input_shape": (*SIZE, 3),
    "classes": CLASSES,
    "proposals": 100,
    "detections": 30,
}
PYRAMID = {
    "pyramid_channels": 64,
    "box_channels": 256,
    "mask_channels": 64,
    "anchor_sizes": (16, 32, 64, 128, 256),
    "proposals_before_nms": 200,
}
CASCADE = {
    "mask_channels": 128,
    "box_channels": 384,
    "proposal_channels": 256,
    "quantize": False,  # a pixel of the map is 16 of these small pictures
    "anchor_sizes": (32, 64, 128),
    "proposals_before_nms": 400,
    "min_proposal": 4.0,
}
SAMPLING = training.Sampling(proposals=300, proposals_before_nms=300, regions=64, region_positives=16)


def build(row):
    """The model of a row and what trains it."""
    keras.utils.set_random_seed(0)
    if row in ("align", "warp", "pool"):
        model = keras_segattn.MaskRCNN(**SMALL, **PYRAMID, roi_operator=row)
        trainer = training.InstanceTrainer
    else:
        model = keras_segattn.MNC(**SMALL, **CASCADE, stages={"mnc5": 5, "mnc3": 3}[row])
        trainer = training.CascadeTrainer
    training.freeze_batch_norm(model)
    return model, trainer(model, SAMPLING)


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--rows", nargs="+", default=["align", "warp", "pool", "mnc5", "mnc3"])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("out/tux_paint"))
    arguments = parser.parse_args()
    for row in arguments.rows:
        if not (arguments.output / row / "scores.json").exists():
            train(row, arguments.scenes, arguments.epochs, arguments.output / row)
    print("| row | parameters | minutes | mask AP50 | mask AP | box AP50 | box AP | AP^r 0.7 |")
    print("|---|---|---|---|---|---|---|---|")
    for row in arguments.rows:
        s = json.loads((arguments.output / row / "scores.json").read_text())
        t = s["test"]
        values = (t["segm"]["AP50"], t["segm"]["AP"], t["bbox"]["AP50"], t["bbox"]["AP"], t["region"]["AP70"])
        cells = " | ".join(f"{value:.3f}" for value in values)
        print(f"| {row} | {s['parameters']:,} | {s['minutes']:.1f} | {cells} |")


if __name__ == "__main__":
    main()
