"""Checks of the arguments that builders have in common."""

import pytest

from keras_segattn.arguments import check_labels, suggestion, unknown


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
