"""Readers of pictures and masks, paired augmentation and batches.

Every reader of masks gives a `tf.data.Dataset` with the features of TFDS's segmentation sets, so that a folder of your
own and `tfds.load` are interchangeable: `image` uint8 `(height, width, 3)` RGB, `segmentation_mask` uint8
`(height, width, 1)` class indices, `file_name` a string. `fashion_mnist` gives `image` and `label`, as TFDS's does.
"""

from keras_segattn.data.augmentation import Augmentation
from keras_segattn.data.batches import Batches
from keras_segattn.data.blue_marble import BLUE_MARBLE_LABELS, BlueMarble, blue_marble
from keras_segattn.data.fashion_mnist import FASHION_MNIST_FOLDER, FASHION_MNIST_LABELS, fashion_mnist, read_idx
from keras_segattn.data.folder import folder
from keras_segattn.data.pictures import read_image, read_mask
from keras_segattn.data.tfds_segmentation import tfds_segmentation
from keras_segattn.data.voc import voc

__all__ = [
    "BLUE_MARBLE_LABELS",
    "FASHION_MNIST_FOLDER",
    "FASHION_MNIST_LABELS",
    "Augmentation",
    "Batches",
    "BlueMarble",
    "blue_marble",
    "fashion_mnist",
    "folder",
    "read_idx",
    "read_image",
    "read_mask",
    "tfds_segmentation",
    "voc",
]
