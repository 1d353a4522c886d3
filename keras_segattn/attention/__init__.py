"""Models that attend: translation and captions.

A builder gives the model that is trained; `translator` and `captioner` give one that writes, on the same layers.
"""

from keras_segattn.attention.rnnsearch import RNNSearch, RNNSearchDecoder, sampler, translator
from keras_segattn.attention.show_attend_tell import ShowAttendTell, ShowAttendTellDecoder, captioner, drawing
from keras_segattn.attention.spatial_transformer_network import SpatialTransformerNetwork

__all__ = [
    "RNNSearch",
    "RNNSearchDecoder",
    "ShowAttendTell",
    "ShowAttendTellDecoder",
    "SpatialTransformerNetwork",
    "captioner",
    "drawing",
    "sampler",
    "translator",
]
