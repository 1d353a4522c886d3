"""Models that attend: translation."""

from keras_segattn.attention.rnnsearch import RNNSearch, RNNSearchDecoder, sampler, translator

__all__ = ["RNNSearch", "RNNSearchDecoder", "sampler", "translator"]
