"""Generators of images, each with the discriminator that it is trained against."""

from keras_segattn.generation.battle import Adversaries, Battle, adversarial_battle
from keras_segattn.generation.conditional_dcgan import ConditionalDCGANDiscriminator, ConditionalDCGANGenerator
from keras_segattn.generation.dcgan import DCGANDiscriminator, DCGANGenerator
from keras_segattn.generation.features import discriminator_features
from keras_segattn.generation.gran import GRANDiscriminator, GRANGenerator
from keras_segattn.generation.latent import arithmetic, estimate_statistics, generate, interpolate, noise
from keras_segattn.ops.pixels import pixels
