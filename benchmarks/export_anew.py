"""Writes the SavedModels of `savedmodels/` anew from their own weights, after changes of the exporter.

    python benchmarks/export_anew.py savedmodels            # or --names fcn8s g2p

Each network is built as in its benchmark, its batch normalisation is folded as in the stored graph, and it gets the
stored variables by their names and the stored facts. The new version must give the outputs of the old one.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

import keras_segattn as ks
from keras_segattn import export
from keras_segattn.export.folding import fold_affine
from keras_segattn.export.runtimes.libtensorflow import Call, run_saved_model
from keras_segattn.export.serving.warmup import read_warmup

# Largest difference of an output, as a share of its largest magnitude: sums in another order.
TOLERANCE = 1e-5
BUILDERS = {
    "fcn8s": lambda: ks.FCN8s(classes=3, backbone="squeezenet1_1"),
    "maskrcnn_tux": lambda: ks.MaskRCNN(
        backbone="efficientnet_lite0",
        input_shape=(256, 256, 3),
        classes=6,
        detections={"count": 30},
        widths={"proposals": 64, "boxes": 256, "masks": 64},
        anchors={"sizes": (16, 32, 64, 128, 256)},
        proposals={"count": 100, "before_nms": 200},
    ),
    "g2p": lambda: ks.RNNSearch(
        30, 43, units=256, embedding=128, maxout=128, alignment=256, dropout=0.3, initialization="scaled"
    ),
    "captions_tux": lambda: ks.ShowAttendTell(
        14,
        backbone="efficientnet_lite0",
        tap="block5c_add",
        input_shape=(224, 224, 3),
        units=256,
        embedding=128,
        key_layers=0,
        initial_layers=0,
        dropout=0.5,
        initialization="scaled",
    ),
    "stn_rotated": lambda: ks.SpatialTransformerNetwork(
        input_shape=(28, 28, 1), classes=10, classifier="cnn", transform="affine", units=1070, filters=(32, 64)
    ),
    "dcgan_mnist": lambda: ks.ConditionalDCGANGenerator(filters=32, units=512, statistics="moving"),
}


def restored(name: str, version: Path):
    """Build a network and give it the variables of a stored version."""
    stored = tf.saved_model.load(str(version))
    values = {
        variable.name.partition(":")[0]: variable.numpy()
        for signature in stored.signatures.values()
        for variable in signature.variables
    }
    network = fold_affine(BUILDERS[name]())
    if missing := {weight.path for weight in network.weights} ^ set(values):
        raise ValueError(f"{name}: the stored variables and those of the network differ in {sorted(missing)}")
    for weight in network.weights:
        weight.assign(values[weight.path])
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--names", nargs="+", choices=list(BUILDERS), default=list(BUILDERS))
    arguments = parser.parse_args()
    for name in arguments.names:
        old = arguments.folder / name / "1"
        with tempfile.TemporaryDirectory() as folder:
            new = export.saved_model(restored(name, old), folder, 1, facts=ks.read_facts(old), name=name).path
            calls = [Call(*request) for request in read_warmup(old) if request[0] != "encoded"]
            pairs = zip(run_saved_model(old, calls)[1], run_saved_model(new, calls)[1], strict=True)
            for before, after in pairs:
                for key, array in before.outputs.items():
                    limit = TOLERANCE * max(1, np.abs(array.astype("float64")).max())
                    np.testing.assert_allclose(after.outputs[key], array, rtol=0, atol=limit, err_msg=f"{name} {key}")
            shutil.rmtree(old)
            shutil.copytree(new, old)
        print(old, flush=True)


if __name__ == "__main__":
    main()
