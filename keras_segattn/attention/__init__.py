"""Attention models: translation, image captions and spatial transformers.

A builder makes the model for training; `translator` and `captioner` make one on the same layers that generates text.
"""

from keras_segattn.attention.co_localisation import co_localiser, crop_boxes
from keras_segattn.attention.rnnsearch import RNNSearch, RNNSearchDecoder, sampler, translator
from keras_segattn.attention.show_attend_tell import ShowAttendTell, ShowAttendTellDecoder, captioner, drawing
from keras_segattn.attention.spatial_transformer_house_numbers import SpatialTransformerHouseNumbers
from keras_segattn.attention.spatial_transformer_inception import SpatialTransformerInception
from keras_segattn.attention.spatial_transformer_network import (
    SpatialTransformerNetwork,
    convolutional_localisation,
    fully_connected_localisation,
)
