"""Training, evaluation and prediction of segmentation models and classifiers."""

from keras_segattn.training.checkpoint import CheckpointError
from keras_segattn.training.classifier import train_classifier
from keras_segattn.training.classifier_evaluation import classify, evaluate_classifier, top_k_error
from keras_segattn.training.classifier_recipes import CLASSIFIER_RECIPES, ClassifierRecipe
from keras_segattn.training.crops import crops
from keras_segattn.training.evaluation import evaluate, predict
from keras_segattn.training.fcn_stages import Stage, train_fcn_stages
from keras_segattn.training.optimizers import CaffeSGD
from keras_segattn.training.recipes import RECIPES, Recipe
from keras_segattn.training.recorder import TrainingDivergedError
from keras_segattn.training.rmsprop import InceptionRMSprop
from keras_segattn.training.segmenter import train_segmenter

__all__ = [
    "CLASSIFIER_RECIPES",
    "RECIPES",
    "CaffeSGD",
    "CheckpointError",
    "ClassifierRecipe",
    "InceptionRMSprop",
    "Recipe",
    "Stage",
    "TrainingDivergedError",
    "classify",
    "crops",
    "evaluate",
    "evaluate_classifier",
    "predict",
    "top_k_error",
    "train_classifier",
    "train_fcn_stages",
    "train_segmenter",
]
