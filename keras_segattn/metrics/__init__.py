"""Scores of segmentations, of detections and of sentences."""

from keras_segattn.metrics.coco_average_precision import coco_average_precision
from keras_segattn.metrics.confusion import confusion_matrix, segmentation_scores
from keras_segattn.metrics.region_average_precision import region_average_precision
from keras_segattn.metrics.scores import SegmentationScores
from keras_segattn.metrics.sentences import bleu, cider

__all__ = [
    "SegmentationScores",
    "bleu",
    "cider",
    "coco_average_precision",
    "confusion_matrix",
    "region_average_precision",
    "segmentation_scores",
]
