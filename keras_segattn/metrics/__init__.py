"""Scores of segmentations, of detections, of sentences and of strings of digits."""

from keras_segattn.metrics.coco_average_precision import coco_average_precision
from keras_segattn.metrics.confusion import confusion_matrix, segmentation_scores
from keras_segattn.metrics.digit_strings import StringAccuracy
from keras_segattn.metrics.region_average_precision import region_average_precision
from keras_segattn.metrics.scores import SegmentationScores
from keras_segattn.metrics.sentences import bleu, cider

__all__ = [
    "SegmentationScores",
    "StringAccuracy",
    "bleu",
    "cider",
    "coco_average_precision",
    "confusion_matrix",
    "region_average_precision",
    "segmentation_scores",
]
