"""Scores of segmentations, of detections, of sentences, of strings of digits and of generated images."""

from keras_segattn.metrics.coco_average_precision import coco_average_precision
from keras_segattn.metrics.confusion import confusion_matrix, segmentation_scores
from keras_segattn.metrics.digit_strings import StringAccuracy
from keras_segattn.metrics.frechet import frechet_distance
from keras_segattn.metrics.region_average_precision import region_average_precision
from keras_segattn.metrics.scores import SegmentationScores
from keras_segattn.metrics.sentences import bleu, cider
from keras_segattn.metrics.stride_power import stride_frequency_power

__all__ = [
    "SegmentationScores",
    "StringAccuracy",
    "bleu",
    "cider",
    "coco_average_precision",
    "confusion_matrix",
    "frechet_distance",
    "region_average_precision",
    "segmentation_scores",
    "stride_frequency_power",
]
