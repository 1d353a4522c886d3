"""Loading the weight files people own into the models built here, with an account of every tensor."""

from keras_segattn.weights.loading import load
from keras_segattn.weights.pretrained import initialize
from keras_segattn.weights.report import LoadReport, Match, ShapeMismatch, WeightsError
from keras_segattn.weights.saving import save

__all__ = ["LoadReport", "Match", "ShapeMismatch", "WeightsError", "initialize", "load", "save"]
