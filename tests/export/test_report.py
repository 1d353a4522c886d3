"""Reports: runtimes that did not run are named, nothing is left out, and brackets are not read as markup."""

import io
from pathlib import Path

import numpy as np
from rich.console import Console

from keras_segattn.export.report import ExportReport, RuntimeResult
from keras_segattn.tasks.closeness import Check, closeness_checks, compare


def report(**facts):
    return ExportReport(Path("models/[red]/[/x].tflite"), "tflite", {}, {"ADD": 1}, (), size_bytes=100, **facts)


def test_a_runtime_that_did_not_run_says_why():
    rows = dict(report(runtimes=(RuntimeResult("A", not_run="no kernel"), RuntimeResult("B"))).rows())
    assert rows["A"] == "not run: no kernel"
    assert rows["B"] == "ran"


def test_brackets_in_names_and_paths_are_printed():
    text = io.StringIO()
    checks = (Check("[/b]", True, "[bold]", "[i]"),)
    Console(file=text, width=200).print(report(checks=checks).table())
    for part in ("models/[red]/[/x].tflite", "ok   [/b]", "[bold] (expected [i])"):
        assert part in text.getvalue()


def test_near_ties_are_counted_in_the_verdict():
    expected = np.zeros((1, 1, 4, 2))
    expected[0, 0, :, 0] = [1.0, 1.0, 0.01, 0.01]
    got = expected.copy()
    got[0, 0, 3] = [0.0, 0.01]  # a near-tie that is decided the other way
    found = compare({"s": {"y": got.astype("float32")}}, {"s": {"y": expected.astype("float32")}}, "int8")
    assert (found.decided, found.agreement, found.decided_share) == (1.0, 0.75, 0.5)
    check = closeness_checks(found, "to Keras", "int8")[-1]
    assert check.passed
    for number in ("1.0000", "50.0%", "10% of the range", "0.7500"):
        assert number in check.measured
