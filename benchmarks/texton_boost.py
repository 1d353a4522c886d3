"""TextonBoost on CamVid: texture-layout potentials alone, with location, with colour, and the whole random field.

Run: python benchmarks/texton_boost.py CAMVID [--rounds 1000] [--output out/texton_boost] [--release savedmodels]

CAMVID is a folder with train/images, train/masks, val/images and val/masks. All pictures are halved, to 240×180. The
command goes on where it was interrupted, and prints a Markdown table of scores on val; `--pictures N` evaluates the
first N pictures only.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_segattn import TextonBoost, data, facts_of, preprocessing_of, save, training
from keras_segattn.files import replaced
from keras_segattn.metrics import confusion_matrix, segmentation_scores
from keras_segattn.segmentation import Colour, Edge, Location, TextonField, location_counts

LABELS = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
CLASSES, IGNORED, SIZE = len(LABELS), 11, (180, 240)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("camvid", type=Path)
parser.add_argument("--rounds", type=int, default=1000)
parser.add_argument("--fraction", type=float, default=0.003, help="share of the features that a round tries")
parser.add_argument("--train-pictures", type=int, help="number of pictures to learn from; the default is all")
parser.add_argument("--pictures", type=int, help="number of val pictures; the default is all")
parser.add_argument("--output", type=Path, default=Path("out/texton_boost"))
parser.add_argument("--release", type=Path, help="folder that gets the model as a .keras file with facts")
options = parser.parse_args()

keras.utils.set_random_seed(0)
model = TextonBoost(classes=CLASSES, stumps=options.rounds)
facts = facts_of(model, labels=LABELS)


def batches(split: str, count: int | None, preprocessing: object = None) -> data.MaskBatches:
    pictures = data.folder(options.camvid / split / "images", options.camvid / split / "masks")
    pictures = pictures if count is None else pictures.take(count)
    return data.MaskBatches(
        pictures, batch_size=1, classes=CLASSES, size=SIZE, ignore_label=IGNORED, preprocessing=preprocessing
    )


start = time.process_time()
training.train_texton_boost(
    model,
    batches("train", options.train_pictures, preprocessing_of(model)),
    fraction=options.fraction,
    ignore_label=IGNORED,
    run_dir=options.output,
    facts=facts,
)
print(f"learning: {time.process_time() - start:.0f} CPU seconds since the start of this call")

masks = [mask.numpy()[0] for _, mask in batches("train", options.train_pictures)(0)]
location = Location(location_counts(masks, CLASSES))
FIELDS = {
    "texture-layout": TextonField(),
    "+ location": TextonField(location),
    "+ colour": TextonField(location, Colour()),
    "+ CRF": TextonField(location, Colour(), Edge()),
}
# One network call per picture serves all rows.
network = tf.function(lambda image: tf.nn.softmax(model(image, training=False)))
prepare = preprocessing_of(model)
done = options.output / f"scores_{options.rounds}_{options.pictures or 'all'}.json"
rows = json.loads(done.read_text()) if done.exists() else {}
for name, field in FIELDS.items():
    if name in rows:
        continue
    matrix, seconds, count = np.zeros((CLASSES, CLASSES), np.int64), 0.0, 0
    for image, mask in batches("val", options.pictures)(0):
        picture = image.numpy()[0].round().astype(np.uint8)
        begin = time.perf_counter()
        labels = field(network(prepare(picture[None])).numpy()[0], picture)
        seconds, count = seconds + time.perf_counter() - begin, count + 1
        matrix += confusion_matrix(mask.numpy()[0], labels, CLASSES, IGNORED)
    scores = segmentation_scores(matrix)
    rows[name] = [*(scores[key] for key in ("pixel_accuracy", "mean_accuracy", "mean_iou")), seconds / count]
    with replaced(done) as temporary:
        temporary.write_text(json.dumps(rows, indent=2))

print("| potentials | global accuracy | class average | mean IoU | seconds per picture | parameters |")
print("|---|---|---|---|---|---|")
for name, (accuracy, average, iou, seconds) in rows.items():
    print(f"| {name} | {accuracy:.1%} | {average:.1%} | {iou:.1%} | {seconds:.2f} | {model.count_params():,} |")
if options.release:
    save(model, options.release / "textonboost_camvid.keras", facts=facts)
