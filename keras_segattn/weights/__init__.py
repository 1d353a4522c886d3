"""Loading of weight files of many formats into the models built here, with a report on every tensor."""

from keras_segattn.weights.loading import load
from keras_segattn.weights.pretrained import initialize
from keras_segattn.weights.report import LoadReport, Match, ShapeMismatch, WeightsError
from keras_segattn.weights.saving import save

__all__ = ["LoadReport", "Match", "ShapeMismatch", "WeightsError", "initialize", "load", "save"]
