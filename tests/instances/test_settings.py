"""Settings of detectors: what each refuses, and how a dict changes a default."""

import pytest

from keras_segattn.instances import Anchors, DetectionRules, ProposalRules, Widths

RULES = ProposalRules(count=300, before_nms=6000, overlap=0.7)


def test_a_dict_changes_only_what_it_names():
    assert RULES.resolve("proposals", {"count": 100}) == ProposalRules(100, 6000, 0.7)
    given = ProposalRules(1, 2, 0.5, 8.0)
    assert RULES.resolve("proposals", given) is given


@pytest.mark.parametrize("given", [100, None, {"counts": 100}, Anchors((8,))], ids=str)
def test_anything_else_is_refused_by_the_argument_s_name(given):
    expected = "proposals must be ProposalRules or a dict of some of count, before_nms, overlap, least_side, received"
    with pytest.raises(ValueError, match=expected):
        RULES.resolve("proposals", given)


def test_widths_are_scaled_together():
    assert Widths(256, 1024, 64).scaled(0.25) == Widths(64, 256, 16)


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        (Anchors, ((),), r"sizes of anchors must be positive numbers, received \(\)"),
        (Anchors, (32,), "sizes of anchors must be positive numbers, received 32"),
        (Anchors, ((32,), (0.5, -1.0)), "ratios of anchors must be positive numbers"),
        (Anchors, (("32",),), "sizes of anchors must be positive numbers, received"),
        (ProposalRules, (0, 10, 0.7), "count must be a positive integer, received 0"),
        (ProposalRules, (10, True, 0.7), "before_nms must be a positive integer, received True"),
        (ProposalRules, (10, 10, 1.5), "overlap must be within 0..1, received 1.5"),
        (ProposalRules, (10, 10, 0.7, -1.0), "least_side must be None or a number of pixels from 0, received -1.0"),
        (DetectionRules, (0, 0.05, 0.5), "count must be a positive integer, received 0"),
        (DetectionRules, (10, float("nan"), 0.5), "least_score must be within 0..1, received nan"),
        (DetectionRules, (10, 0.05, -0.1), "overlap must be within 0..1, received -0.1"),
        (Widths, (256, 0, 256), "width of boxes must be a positive integer, received 0"),
    ],
)
def test_each_checks_itself(settings, arguments, message):
    with pytest.raises(ValueError, match=message):
        settings(*arguments)
