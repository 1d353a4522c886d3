# %% [markdown]
# # Segment your own pictures, and take the model to a phone
#
# You need two folders: pictures `images/cat.jpg`, `images/dog.jpg` … and masks `masks/cat.png`, `masks/dog.png` …. The
# value of a mask's pixel is the number of its class; pixels of value 255 are ignored. This tutorial uses tiles of
# NASA's Blue Marble as pictures, and takes a minute on two cores.
#
# From a clone of the repository, install the package with `pip install ".[tutorials]"`. Then run this file, or its
# cells one by one.

# %%
import tempfile
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

import keras_segattn as ks
from keras_segattn import data, export, training, visualize

work = Path(tempfile.mkdtemp(prefix="segattn_"))
keras.utils.set_random_seed(0)

# %% [markdown]
# ## Prepare the two folders

# %%
for split, count in {"train": 64, "test": 16}.items():
    for kind in ("images", "masks"):
        (work / split / kind).mkdir(parents=True)
    tiles = data.blue_marble(split).shuffle(345, seed=0).take(count)
    for example in tiles.as_numpy_iterator():
        name = example["file_name"].decode() + ".png"
        Image.fromarray(example["image"]).save(work / split / "images" / name)
        Image.fromarray(example["segmentation_mask"][..., 0]).save(work / split / "masks" / name)

# %% [markdown]
# ## Train
#
# The backbone is SqueezeNet 1.1 with ImageNet weights; `ks.list_models("classification")` lists other backbones.
# `run_dir` receives checkpoints: if training is interrupted, run the cell again to resume it.

# %%
labels = ["sea", "land", "lake"]
model = ks.FCN8s(classes=3, backbone="squeezenet1_1", weights="imagenet")
options = {"batch_size": 8, "classes": 3, "preprocessing": ks.preprocessing_of(model)}
train = data.MaskBatches(
    data.folder(work / "train/images", work / "train/masks"),
    augmentation=data.Augmentation(crop=(160, 160)),
    shuffle=True,
    **options,
)
held_out = data.MaskBatches(data.folder(work / "test/images", work / "test/masks"), size=(160, 160), **options)
training.train_segmenter(model, train, held_out, epochs=3, recipe="adamw-cosine", run_dir=work / "run")
scores = training.evaluate_segmenter(model, held_out, classes=3)
print({label: round(float(iou), 3) for label, iou in zip(labels, scores["iou"], strict=True)})

# %% [markdown]
# ## Look at a prediction

# %%
picture = data.read_image(next((work / "test/images").iterdir()))
mask = training.predict_mask(model, picture, ks.preprocessing_of(model))
visualize.save(visualize.overlay(picture, mask, labels=labels), work / "overlay.png")

# %% [markdown]
# ## Export to a phone, and run the file as a phone does
#
# `int8` needs pictures for calibration, to measure the range of each activation. The report contains measurements of
# the written file. If one of its checks fails, the export raises an error and leaves no file.

# %%
calibration = np.concatenate([np.asarray(images) for images, _ in train(0).take(4)])
report = export.tflite(
    model,
    work / "model.tflite",
    quantize="int8",
    calibration=calibration,
    sizes={"image": (160, 160)},
    facts=ks.facts_of(model, labels=labels),
)
print(f"{report.size_bytes / 2**20:.2f} MiB, {report.runtimes[0]}")

run = Interpreter(str(work / "model.tflite")).get_signature_runner("serving_default")
print("what the phone must do to a picture:", ks.read_facts(work / "model.tflite").inputs["image"])
logits = run(image=calibration[:1])["logits"]
agreement = (logits.argmax(-1) == np.asarray(model(calibration[:1])).argmax(-1)).mean()
print(f"same class as Keras: {agreement:.1%} of the pixels; files in {work}")
