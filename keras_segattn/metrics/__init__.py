"""Scores of segmentations."""

from keras_segattn.metrics.confusion import confusion_matrix, segmentation_scores
from keras_segattn.metrics.scores import SegmentationScores

__all__ = ["SegmentationScores", "confusion_matrix", "segmentation_scores"]
