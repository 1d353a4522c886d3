"""Readers of pictures, masks, instances, captions and texts, augmentation, and batches for training.

Every reader of masks returns a `tf.data.Dataset` with the features of TFDS's segmentation sets, so that a folder of
your own and `tfds.load` are interchangeable: `image` uint8 `(height, width, 3)` RGB, `segmentation_mask` uint8
`(height, width, 1)` class indices, `file_name` a string. `mnist` and `fashion_mnist` have `image` and `label`, like the
TFDS sets of these names.

Readers of instances return lazy sequences of examples (`Instances`), which `InstanceBatches` turns into training
batches for detectors. `svhn` returns a list of pictures of house numbers with their digits; `DigitStrings` synthesises
such pictures.

`Proposals` are the boxes and regions that region-based detectors look at. They are read from files, or proposed by
`SelectiveSearch` and `RegionMerging`.
"""

from keras_segattn.data.augmentation import Augmentation
from keras_segattn.data.blue_marble import BLUE_MARBLE_LABELS, BlueMarble, blue_marble
from keras_segattn.data.caption_batches import CaptionBatches
from keras_segattn.data.captions import (
    Captioned,
    coco_captions,
    flickr_captions,
    karpathy_captions,
    tokenize_caption,
)
from keras_segattn.data.cmudict import cmudict
from keras_segattn.data.coco import coco_instances
from keras_segattn.data.digit_strings import DigitStrings, photographs
from keras_segattn.data.distorted_digits import DISTORTIONS, DigitSums, DistortedDigits, digit_scenes
from keras_segattn.data.fashion_mnist import FASHION_MNIST_FOLDER, FASHION_MNIST_LABELS, fashion_mnist
from keras_segattn.data.fitting import fit_picture
from keras_segattn.data.folder import folder
from keras_segattn.data.idx import read_idx
from keras_segattn.data.instance_batches import InstanceBatches
from keras_segattn.data.instance_folder import instance_folder
from keras_segattn.data.instances import Instances
from keras_segattn.data.labelled_pictures import LabelledPictures, PictureBatches, class_folder, picture_folder
from keras_segattn.data.mask_batches import MaskBatches
from keras_segattn.data.mnist import MnistIdx, mnist, mnist_arrays
from keras_segattn.data.parallel_text import parallel_text
from keras_segattn.data.patch_batches import PatchBatches
from keras_segattn.data.pictures import read_image, read_mask
from keras_segattn.data.proposals import Proposals, best_overlaps, proposal_recall
from keras_segattn.data.proposals_files import (
    coco_results,
    mcg_mat,
    numpy_proposals,
    save_proposals,
    selective_search_mat,
)
from keras_segattn.data.proposals_regions import Regions
from keras_segattn.data.proposals_sources import ProposalSource, RegionMerging, SelectiveSearch
from keras_segattn.data.region_batches import RegionBatches
from keras_segattn.data.sequence_batches import SequenceBatches
from keras_segattn.data.sources import Source, open_source, source_forms
from keras_segattn.data.svhn import BLANK, LONGEST, HouseNumber, digit_labels, number_crop, svhn
from keras_segattn.data.tfds_instances import tfds_instances
from keras_segattn.data.tfds_segmentation import tfds_segmentation
from keras_segattn.data.tux_paint import TuxPaintScenes
from keras_segattn.data.tux_paint_sources import TUX_PAINT_CLASSES
from keras_segattn.data.voc import voc
from keras_segattn.data.vocabulary import Vocabulary

__all__ = [
    "BLANK",
    "BLUE_MARBLE_LABELS",
    "DISTORTIONS",
    "FASHION_MNIST_FOLDER",
    "FASHION_MNIST_LABELS",
    "LONGEST",
    "TUX_PAINT_CLASSES",
    "Augmentation",
    "BlueMarble",
    "CaptionBatches",
    "Captioned",
    "DigitStrings",
    "DigitSums",
    "DistortedDigits",
    "HouseNumber",
    "InstanceBatches",
    "Instances",
    "LabelledPictures",
    "MaskBatches",
    "MnistIdx",
    "PatchBatches",
    "PictureBatches",
    "ProposalSource",
    "Proposals",
    "RegionBatches",
    "RegionMerging",
    "Regions",
    "SelectiveSearch",
    "SequenceBatches",
    "Source",
    "TuxPaintScenes",
    "Vocabulary",
    "best_overlaps",
    "blue_marble",
    "class_folder",
    "cmudict",
    "coco_captions",
    "coco_instances",
    "coco_results",
    "digit_labels",
    "digit_scenes",
    "fashion_mnist",
    "fit_picture",
    "flickr_captions",
    "folder",
    "instance_folder",
    "karpathy_captions",
    "mcg_mat",
    "mnist",
    "mnist_arrays",
    "number_crop",
    "numpy_proposals",
    "open_source",
    "parallel_text",
    "photographs",
    "picture_folder",
    "proposal_recall",
    "read_idx",
    "read_image",
    "read_mask",
    "save_proposals",
    "selective_search_mat",
    "source_forms",
    "svhn",
    "tfds_instances",
    "tfds_segmentation",
    "tokenize_caption",
    "voc",
]
