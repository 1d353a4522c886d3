"""Training, evaluation and prediction of classifiers, segmentation models, detectors and generators; recipes."""

from keras_segattn.data.crops import crops
from keras_segattn.training.cascade_trainer import CascadeTrainer
from keras_segattn.training.checkpoint import CheckpointError
from keras_segattn.training.classifier import train_classifier
from keras_segattn.training.classifier_evaluation import classify, evaluate_classifier, top_k_error
from keras_segattn.training.classifier_recipes import CLASSIFIER_RECIPES, AdamWRecipe, ClassifierRecipe
from keras_segattn.training.co_localisation import train_co_localiser
from keras_segattn.training.co_localisation_trainer import CoLocalisationTrainer
from keras_segattn.training.fcn_stages import Stage, train_fcn_stages
from keras_segattn.training.feature_stages import train_features_then_classifier
from keras_segattn.training.gan import train_gan
from keras_segattn.training.gan_recipes import GAN_RECIPES, GANRecipe
from keras_segattn.training.hard_attention_trainer import HardAttentionTrainer
from keras_segattn.training.instance_evaluation import evaluate_instances
from keras_segattn.training.instance_recipes import INSTANCE_RECIPES, InstanceRecipe
from keras_segattn.training.instance_trainer import InstanceTrainer
from keras_segattn.training.instances import train_instances
from keras_segattn.training.optimizers import CaffeSGD
from keras_segattn.training.rcnn import RegionFeatures, region_classifier, train_rcnn_heads
from keras_segattn.training.recorder import TrainingDivergedError
from keras_segattn.training.recurrent_stages import train_recurrent_stages
from keras_segattn.training.region_trainer import RegionChoice, freeze_batch_norm
from keras_segattn.training.rmsprop import InceptionRMSprop
from keras_segattn.training.segmentation_recipes import SEGMENTATION_RECIPES, SegmentationRecipe
from keras_segattn.training.segmenter import train_segmenter
from keras_segattn.training.segmenter_evaluation import evaluate_segmenter, predict_mask
from keras_segattn.training.sequence_recipes import SEQUENCE_RECIPES, SequenceRecipe
from keras_segattn.training.sequences import train_sequences
from keras_segattn.training.texton_boost import train_texton_boost
from keras_segattn.training.workflows import evaluate, train

__all__ = [
    "CLASSIFIER_RECIPES",
    "GAN_RECIPES",
    "INSTANCE_RECIPES",
    "SEGMENTATION_RECIPES",
    "SEQUENCE_RECIPES",
    "AdamWRecipe",
    "CaffeSGD",
    "CascadeTrainer",
    "CheckpointError",
    "ClassifierRecipe",
    "CoLocalisationTrainer",
    "GANRecipe",
    "HardAttentionTrainer",
    "InceptionRMSprop",
    "InstanceRecipe",
    "InstanceTrainer",
    "RegionChoice",
    "RegionFeatures",
    "SegmentationRecipe",
    "SequenceRecipe",
    "Stage",
    "TrainingDivergedError",
    "classify",
    "crops",
    "evaluate",
    "evaluate_classifier",
    "evaluate_instances",
    "evaluate_segmenter",
    "freeze_batch_norm",
    "predict_mask",
    "region_classifier",
    "top_k_error",
    "train",
    "train_classifier",
    "train_co_localiser",
    "train_fcn_stages",
    "train_features_then_classifier",
    "train_gan",
    "train_instances",
    "train_rcnn_heads",
    "train_recurrent_stages",
    "train_segmenter",
    "train_sequences",
    "train_texton_boost",
]
