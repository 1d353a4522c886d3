"""Decoding of token sequences as layers: several published beam searches, greedy search and sampling."""

from keras_segattn.decoding.beam_search import BeamRules, beam_search
from keras_segattn.decoding.decoder import Decoder
from keras_segattn.decoding.drawing import SamplingRules, draw, sample_tokens
from keras_segattn.decoding.endpoints import of_words, rules_of, searching, sequence_endpoints
from keras_segattn.decoding.searches import BeamSearch, SampleTokens
from keras_segattn.decoding.teacher_forcing import TeacherForcing

__all__ = [
    "BeamRules",
    "BeamSearch",
    "Decoder",
    "SampleTokens",
    "SamplingRules",
    "TeacherForcing",
    "beam_search",
    "draw",
    "of_words",
    "rules_of",
    "sample_tokens",
    "searching",
    "sequence_endpoints",
]
