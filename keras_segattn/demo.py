"""A demonstration from end to end: FCN-8s is trained, exported to SavedModel and TFLite, and verified in both.

It segments land, sea and lakes of NASA's Blue Marble, whose longitudes are split into training, validation and test.
The backbone is SqueezeNet 1.1 with its ImageNet weights.
"""

import math
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from rich.console import Console

import keras_segattn
from keras_segattn import data, export, training, visualize
from keras_segattn.export.mobile.tflite import QUANTIZATIONS
from keras_segattn.export.report import Check, ExportReport
from keras_segattn.facts import facts_of, preprocessing_of
from keras_segattn.files import replaced
from keras_segattn.losses import PixelCrossEntropy
from keras_segattn.segmentation.fcn import FCN8s

TILE = 180
BATCH = 16
CALIBRATION_IMAGES = 48
# Lakes are 0.2 % of the training pixels; without class weights, the network never predicts them.
CLASS_WEIGHTS = (1.0, 1.0, 5.0)
LEARNING_RATE = 1e-3
TRAINING = (
    "NASA's Blue Marble (public domain) with labels from GSHHG, except the held-out longitudes; "
    "backbone trained on ImageNet"
)
LICENCE = "Apache-2.0; backbone BSD-2-Clause (SqueezeNet 1.1), labels LGPL (GSHHG)"
SCORES = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")


def run(output: Path, *, epochs: int, console: Console, seed: int = 0) -> dict[str, Any]:
    """Train, export and verify; leave pictures, the SavedModel, four `.tflite` files and `report.md` in a folder.

    Args:
        output: folder to write; made if missing. Files of an earlier run are replaced; its SavedModel stays as an
            older version.
        epochs: passes over the training longitudes.
        console: console on which progress is printed.
        seed: seed of the weights' initial values, the order of images and dropout.

    Returns:
        The scores on the held-out longitudes, as `training.evaluate_segmenter` gives them.

    Raises:
        keras_segattn.weights.WeightsError: if the package with SqueezeNet's weights is not installed.
        FileNotFoundError: if the package with the pictures is not installed.
        keras_segattn.export.ExportError: if an export fails a check.
        RuntimeError: if a result misses its target; the report is written all the same.
    """
    start = time.perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    labels = list(data.BLUE_MARBLE_LABELS)

    console.rule("Blue Marble")
    sources = {split: data.blue_marble(split) for split in ("train", "validation", "test")}
    model = FCN8s(classes=len(labels), backbone="squeezenet1_1", weights="imagenet")
    shared: dict[str, Any] = {
        "batch_size": BATCH,
        "preprocessing": preprocessing_of(model),
        "classes": len(labels),
        "seed": seed,
    }
    batches = data.MaskBatches(
        sources["train"], augmentation=data.Augmentation(crop=(TILE, TILE)), shuffle=True, **shared
    )
    validation, test = (data.MaskBatches(sources[split], **shared) for split in ("validation", "test"))

    console.rule("Training")
    history = training.train_segmenter(
        model,
        batches,
        validation,
        epochs=epochs,
        recipe="adamw-cosine",
        learning_rate=LEARNING_RATE,
        loss=PixelCrossEntropy(class_weights=CLASS_WEIGHTS),
        run_dir=output / "run",
        resume=False,
    )
    trained = time.perf_counter()
    scores = training.evaluate_segmenter(model, test, classes=len(labels))
    baseline = majority_scores(scores["confusion_matrix"])
    for name, iou in zip(labels, scores["iou"], strict=True):
        console.print(f"IoU of {name} on the held-out longitudes: {iou:.4f}")
    console.print(f"mean IoU of land and sea: {land_and_sea(scores):.4f}")

    console.rule("Pictures")
    picture = held_out_picture(sources["test"])
    mask = training.predict_mask(model, picture["image"], preprocessing_of(model))
    images = {
        "overlay.png": visualize.overlay(picture["image"], mask, labels=labels),
        "comparison.png": visualize.side_by_side(picture["image"], picture["mask"], mask, labels=labels),
        "confusion.png": visualize.confusion_matrix(scores["confusion_matrix"], labels=labels),
        "training.png": visualize.training_curves(history.history),
    }
    for name, image in images.items():
        visualize.save(image, output / name)

    console.rule("Export")
    facts = facts_of(model, labels=labels, training=TRAINING, licence=LICENCE)
    reports = [export.saved_model(model, output / "savedmodels", facts=facts)]
    calibration = np.concatenate([np.asarray(images) for images, _ in batches(0).take(CALIBRATION_IMAGES // BATCH)])
    for quantize in QUANTIZATIONS:
        path = output / f"{model.name}_{quantize or 'float32'}.tflite"
        reports.append(
            export.tflite(
                model,
                path,
                quantize=quantize,
                calibration=calibration,
                facts=facts,
                sizes={"image": (TILE, TILE)},
            )
        )
    for report in reports:
        console.print(report.table())
    agreement = int8_agreement(model, reports[-1].path, test)
    checks = acceptance(reports, scores, agreement)
    with replaced(output / "report.md") as temporary:
        seconds = {"data and training": trained - start, "all together": time.perf_counter() - start}
        temporary.write_text(markdown(labels, scores, baseline, checks, reports, seconds), encoding="utf-8")
    for check in checks:
        console.print(f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.measured} ({check.expected})")
    console.print(f"report: {output / 'report.md'}")
    failed = [check.name for check in checks if not check.passed]
    if failed:
        raise RuntimeError(f"the demo did not reach: {', '.join(failed)}")
    return scores


def land_and_sea(scores: dict[str, Any]) -> float:
    """Return the mean IoU of land and sea, the two classes that a picture of this size can show."""
    return float(np.mean(scores["iou"][:2]))


def int8_agreement(model: keras.Model, path: Path, batches: data.MaskBatches) -> float:
    """Return the share of the held-out pixels to which a `.tflite` file and Keras give the same class."""
    run = Interpreter(str(path), num_threads=2).get_signature_runner("serving_default")
    same = [
        np.mean(run(image=image[None])["logits"].argmax(-1) == reference.argmax(-1))
        for images, _ in batches(0).as_numpy_iterator()
        for image, reference in zip(images, np.asarray(model.predict_on_batch(images)), strict=True)
    ]
    return float(np.mean(same))


def acceptance(reports: list[ExportReport], scores: dict[str, Any], agreement: float) -> list[Check]:
    """Compare the results of the demonstration with their targets, beyond the checks of each exported file."""
    saved, phone = reports[0], dict(zip(QUANTIZATIONS, reports[1:], strict=True))
    ratio = saved.size_ratio or math.inf
    flex = sum(len(report.flex_operators) for report in phone.values())
    (float32,) = (check for check in phone[None].checks if check.name == "difference to Keras")
    difference = f"{phone[None].runtimes[0].max_difference:.2e}, {float32.measured}"
    iou = land_and_sea(scores)
    return [
        Check("mean IoU of land and sea, held-out longitudes", iou >= 0.8, f"{iou:.4f}", ">= 0.80"),
        Check("operators that are not builtin, four files", flex == 0, str(flex), "0"),
        Check("float32 difference to Keras", float32.passed, difference, float32.expected),
        Check(
            "int8 arg-max agreement with Keras, every held-out pixel", agreement >= 0.97, f"{agreement:.4f}", ">= 0.97"
        ),
        Check("SavedModel size ÷ weights", ratio <= 1.1, f"{ratio:.3f}", "<= 1.1"),
    ]


def majority_scores(confusion: np.ndarray) -> dict[str, Any]:
    """Return the scores of giving every pixel the most frequent class, which a model must beat."""
    constant = np.zeros_like(confusion)
    constant[:, confusion.sum(axis=1).argmax()] = confusion.sum(axis=1)
    return keras_segattn.metrics.segmentation_scores(constant)


def held_out_picture(source: Any) -> dict[str, np.ndarray]:
    """Return the tile of the held-out longitudes whose classes are most evenly mixed."""
    best, most = {}, -1.0
    for features in source.as_numpy_iterator():
        mask = features["segmentation_mask"][..., 0]
        shares = np.bincount(mask.ravel(), minlength=3) / mask.size
        entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
        if entropy > most:
            best, most = {"image": features["image"], "mask": mask}, entropy
    return best


def markdown(
    labels: list[str],
    scores: dict[str, Any],
    baseline: dict[str, Any],
    checks: list[Check],
    reports: list[ExportReport],
    seconds: dict[str, float],
) -> str:
    """Write the one-page report as Markdown."""
    lines = ["# FCN-8s on SqueezeNet 1.1: land, sea and lakes of the Blue Marble", ""]
    lines += ["Measured on longitudes that were not trained on.", "", "| score | FCN-8s | always the commonest class |"]
    lines += ["|---|---|---|"]
    lines += [f"| {key.replace('_', ' ')} | {scores[key]:.4f} | {baseline[key]:.4f} |" for key in SCORES]
    pairs = zip(labels, scores["iou"], baseline["iou"], strict=True)
    lines += [f"| IoU of {name} | {ours:.4f} | {constant:.4f} |" for name, ours, constant in pairs]
    lines += [f"| mean IoU of land and sea | {land_and_sea(scores):.4f} | {land_and_sea(baseline):.4f} |"]
    lines += ["", "| must | measured | expected |", "|---|---|---|"]
    lines += [f"| {'ok' if c.passed else 'FAIL'}: {c.name} | {c.measured} | {c.expected} |" for c in checks]
    lines += ["", "![held-out region](overlay.png)", "", "![truth and prediction](comparison.png)", ""]
    lines += ["![confusion matrix](confusion.png) ![training](training.png)", ""]
    lines += ["| took | seconds |", "|---|---|"]
    lines += [f"| {name} | {value:.0f} |" for name, value in seconds.items()]
    for report in reports:
        lines += ["", f"## {report.path.name if report.format == 'tflite' else 'SavedModel ' + report.path.name}", ""]
        lines += ["| fact | value |", "|---|---|"]
        lines += [f"| {name} | {value.replace('|', '/')} |" for name, value in report.rows()]
    return "\n".join(lines) + "\n"
