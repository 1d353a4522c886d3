"""Networks that label every pixel."""

from keras_segattn.segmentation.fcn import FCN8s, FCN16s, FCN32s
from keras_segattn.segmentation.fcn_alexnet import FCNAlexNet
from keras_segattn.segmentation.fcn_transfer import initialize_from
from keras_segattn.segmentation.labelling import OptimalCover, SuperpixelAverage, SuperpixelCRF
from keras_segattn.segmentation.multi_scale_conv_net import MultiScaleConvNet
from keras_segattn.segmentation.recurrent_conv_net import RecurrentConvNet
from keras_segattn.segmentation.superpixels import Superpixels
from keras_segattn.segmentation.texton_boost import TextonBoost
from keras_segattn.segmentation.texton_field import Colour, Edge, Location, TextonField, location_counts
