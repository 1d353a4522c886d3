"""Scores of segmentations and of detections."""

from keras_segattn.metrics.coco_average_precision import coco_average_precision
from keras_segattn.metrics.confusion import confusion_matrix, segmentation_scores
from keras_segattn.metrics.region_average_precision import region_average_precision
from keras_segattn.metrics.scores import SegmentationScores

__all__ = [
    "SegmentationScores",
    "coco_average_precision",
    "confusion_matrix",
    "region_average_precision",
    "segmentation_scores",
]
