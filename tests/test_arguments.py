"""Checks of the arguments that builders have in common."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_segattn as ks
from keras_segattn.arguments import (
    check_blocks,
    check_dropout,
    check_labels,
    check_number,
    check_positive_integer,
    is_integer,
    is_number,
    scaled,
    suggestion,
    unknown,
)
from keras_segattn.data import Augmentation
from keras_segattn.data.augmentation import check_integer, check_size
from keras_segattn.decoding import BeamRules, SamplingRules
from keras_segattn.layers import CropToReference, RoIAlign, TransposedConv2D
from keras_segattn.registry import plain
from keras_segattn.tasks.options import OPTIONS


def test_an_unknown_name_comes_with_the_nearest_known_one():
    known = ["AlexNet", "FCN8s", "FCN16s"]
    message = "unknown model 'FCN4s'; expected one of AlexNet, FCN8s, FCN16s"
    assert unknown("model", "FCN4s", known) == f"{message}; did you mean 'FCN8s'?"
    assert suggestion("alexnett", known) == suggestion("ALEXNETT", known) == "; did you mean 'AlexNet'?"


@pytest.mark.parametrize("value", ["transformer", "", 3, None, ["FCN8s"]])
def test_nothing_is_suggested_where_nothing_is_near(value):
    assert unknown("model", value, ["AlexNet", "FCN8s"]) == f"unknown model {value!r}; expected one of AlexNet, FCN8s"


def test_names_of_classes_are_counted():
    check_labels(["sea", "land"], 2)
    with pytest.raises(ValueError, match=r"^expected 3 names of classes, received 2: sea, land$"):
        check_labels(["sea", "land"], 3)
    with pytest.raises(ValueError, match=r"^expected 3 names of classes, received the text 'abc'$"):
        check_labels("abc", 3)
    with pytest.raises(ValueError, match=r"received 1000: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …$"):
        check_labels([str(number) for number in range(1000)], 3)


@pytest.mark.parametrize("labels", [{0: "sea", 1: "land"}, {"sea", "land"}, iter(["sea", "land"])])
def test_names_without_an_order_are_refused(labels):
    with pytest.raises(ValueError, match=r"^expected a list of 2 names of classes, received (dict|set|list_iterator) "):
        check_labels(labels, 2)


INTEGERS = [np.int8, np.uint8, np.int32, np.int64, np.uint64, int]


@settings(max_examples=20, deadline=None)
@given(value=st.integers(1, 127), kind=st.sampled_from(INTEGERS), real=st.sampled_from([np.float32, np.float64, float]))
def test_numbers_of_numpy_are_numbers(value, kind, real):
    number = kind(value)
    assert is_integer(number)
    assert is_number(number)
    assert is_number(real(value / 2))
    check_positive_integer("size", number)
    check_integer("seed", number)
    check_size("size", (number, number))
    check_blocks([number] * 2, 2, "two numbers")
    check_number("rate", real(0.5), 0, 1)
    check_dropout(real(0.5))
    assert scaled(8, real(0.5)) == 4
    BeamRules(beams=number, length=kind(value + 0))
    SamplingRules(top_k=number)
    CropToReference(number)
    RoIAlign(number, (0.25,), sampling_ratio=number)
    TransposedConv2D(1, 3, padding=number)
    Augmentation(crop=(number, number))
    assert OPTIONS["write"]["best"].checked("best", number) == value
    found = plain({"shape": (number, [real(value)])}["shape"])
    assert json.loads(json.dumps(found)) == [value, [value]]


@pytest.mark.parametrize("value", [True, np.True_, None, "3", 2.5, np.float64(3), np.array([3]), np.nan, [3]])
def test_what_is_no_integer_is_refused_without_contradiction(value):
    assert not is_integer(value)
    with pytest.raises(ValueError, match=r"^size must be a positive integer, received"):
        check_positive_integer("size", value)


@pytest.mark.parametrize("value", [True, np.True_, None, "3", np.inf, np.float32("nan"), np.array([3.0])])
def test_what_is_no_number_is_refused(value):
    assert not is_number(value)
    with pytest.raises(ValueError, match=r"^rate must be in 0\.\.1, received"):
        check_number("rate", value, 0, 1)


def test_builders_take_numbers_of_numpy():
    shape, labels = tuple(np.array([32, 32, 3])), np.array([0, 4])
    model = ks.ResNet18(input_shape=shape, classes=labels.max() + 1, alpha=np.float32(0.0625), blocks=np.ones(4, int))
    assert (model.input_shape, model.output_shape) == ((None, 32, 32, 3), (None, 5))
    assert "ResNet18" in ks.facts_of(model).to_json()
    with pytest.raises(ValueError, match=r"^classes must be a positive integer, received True"):
        ks.ResNet18(classes=np.True_)
