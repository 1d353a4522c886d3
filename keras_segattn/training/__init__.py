"""Training, evaluation and prediction of segmentation models."""

from keras_segattn.training.checkpoint import CheckpointError
from keras_segattn.training.evaluation import evaluate, predict
from keras_segattn.training.fcn_stages import Stage, train_fcn_stages
from keras_segattn.training.optimizers import CaffeSGD
from keras_segattn.training.recipes import RECIPES, Recipe
from keras_segattn.training.recorder import TrainingDivergedError
from keras_segattn.training.segmenter import train_segmenter

__all__ = [
    "RECIPES",
    "CaffeSGD",
    "CheckpointError",
    "Recipe",
    "Stage",
    "TrainingDivergedError",
    "evaluate",
    "predict",
    "train_fcn_stages",
    "train_segmenter",
]
