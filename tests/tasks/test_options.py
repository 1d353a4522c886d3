"""Tasks and their options, tested without a network."""

import subprocess
import sys
from importlib import import_module

import pytest

from keras_segattn.tasks import TASKS, task_of
from keras_segattn.tasks.options import OPTIONS, checked_options, class_index


def test_every_task_is_a_module_with_options_that_accept_their_defaults():
    assert set(TASKS) == set(OPTIONS)
    for name in TASKS:
        assert task_of(name) is import_module(f"keras_segattn.tasks.{name}").TASK
        assert task_of(name).name == name
        assert checked_options(name, {}) == {key: option.default for key, option in OPTIONS[name].items()}


def test_the_command_line_can_name_options_without_loading_keras():
    imported = "import sys; sys.argv = ['segattn']; from keras_segattn.tasks import options"
    code = f"{imported}; print({{'keras', 'numpy'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match=r"unknown option of the task 'detect' 'treshold'; expected one of score_thr"):
        checked_options("detect", {"treshold": 1})
    for task, given, message in (
        ("classify", {"top": 0}, "top must be at least 1"),
        ("classify", {"top": True}, "top must be of type int"),
        ("generate", {"noise": "gauss"}, "noise must be one of 'normal', 'uniform'"),
        ("detect", {"score_threshold": None}, "must be of type float"),
    ):
        with pytest.raises(ValueError, match=message):
            checked_options(task, given)
    with pytest.raises(ValueError, match=r"unknown task 'detekt'.*did you mean 'detect'"):
        task_of("detekt")


def test_values_take_the_type_of_their_option():
    assert checked_options("detect", {"score_threshold": 1})["score_threshold"] == 1.0
    assert checked_options("generate", {"label": 3, "noise": None})["label"] == "3"


def test_classes_by_name_or_number():
    assert class_index("label", "sea", ("land", "sea"), 2) == 1
    assert class_index("label", "1", None, 2) == 1
    with pytest.raises(ValueError, match="label lake: the model has 2 classes from 0 on, called land, sea"):
        class_index("label", "lake", ("land", "sea"), 2)
    with pytest.raises(ValueError, match="label 2"):
        class_index("label", "2", None, 2)
