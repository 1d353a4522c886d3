"""Drawing is bounded: long texts are cut with a note, and large pictures are drawn smaller, within seconds."""

import time

import numpy as np
import pytest
from PIL import Image

from keras_segattn import visualize
from keras_segattn.visualize import figure, masks
from keras_segattn.visualize.attention import TOKENS, alignment, attended_words
from keras_segattn.visualize.charts import Panel, confusion_matrix, line_charts, training_curves
from keras_segattn.visualize.figure import LETTERS, cut_note, reduced, reduction, shortened
from keras_segattn.visualize.instances import draw_instances

LONG = "letters " * 1250
# Pixels of a side that no picture here may exceed, and seconds that a drawing may take on a busy machine.
SIDE, SECONDS = 6000, 20


@pytest.fixture
def small(monkeypatch):
    """Let pictures count as large from 10,000 pixels."""
    monkeypatch.setattr(figure, "PIXELS", 10_000)
    monkeypatch.setattr(figure.reduction, "__defaults__", (10_000,))


def classes(count):
    return [f"{number} {LONG}" for number in range(count)]


DRAWINGS = {
    "alignment": lambda: alignment(np.full((10_000, 30), 0.5, "float16"), ["a"] * 30, [LONG] * 10_000),
    "words": lambda: attended_words(np.zeros((40, 60, 3), "uint8"), [LONG] * 10_000, np.full((10_000, 4), 0.25)),
    "confusion": lambda: confusion_matrix(np.eye(101, dtype=int), labels=classes(101)),
    "few classes": lambda: confusion_matrix(np.eye(2, dtype=int), labels=classes(2)),
    "curves": lambda: training_curves({f"{LONG}{number}": [1.0, 2.0] for number in range(60)}),
    "long curves": lambda: training_curves({"loss": np.arange(1e6), "val_loss": np.arange(1e6)}),
    "lines": lambda: line_charts([Panel(LONG, {f"{number}{LONG}": ([1, 2], [1, 2]) for number in range(60)})]),
    "legend": lambda: visualize.overlay(
        np.zeros((16, 16, 3), "uint8"), np.arange(256).reshape(16, 16) % 200, labels=classes(200)
    ),
    "panels": lambda: visualize.panels([(LONG, np.zeros((9, 9, 3), "uint8"))], 1),
    "many panels": lambda: visualize.panels([("", np.zeros((9, 9, 3), "uint8"))] * 10_000, 12),
    "a wide page of one panel": lambda: visualize.panels([("", np.zeros((9, 9, 3), "uint8"))], 10**9),
    "charts": lambda: line_charts([Panel("", {"a": ([1, 2], [1, 2])})] * 1000),
    "many pictures": lambda: visualize.image_grid(np.zeros((4000, 28, 28, 1), "uint8"), 64, scale=20),
    "many small pictures": lambda: visualize.image_grid(np.zeros((100_000, 8, 8, 1), "uint8"), 400),
    "a wide page of two pictures": lambda: visualize.image_grid(np.zeros((2, 8, 8, 3), "uint8"), 10**9),
    "transformers": lambda: visualize.transformer_panels(
        np.zeros((1000, 9, 9)), np.zeros((1000, 2, 2, 2)), np.zeros((1000, 9, 9)), [LONG] * 1000, columns=12
    ),
    "many instances": lambda: draw_instances(
        np.zeros((9, 9, 3), "uint8"), np.tile([[1, 1, 5, 5]], (10_000, 1)), np.ones(10_000, int)
    ),
    "instances": lambda: draw_instances(
        np.zeros((9, 9, 3), "uint8"), np.array([[1, 1, 5, 5]]), np.array([1]), np.array([0.5]), names=[LONG]
    ),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_long_texts_and_many_of_them_are_cut(name):
    begun = time.process_time()
    image = DRAWINGS[name]()
    assert max(image.size) < SIDE
    assert time.process_time() - begun < SECONDS


def test_a_cut_is_noted(monkeypatch):
    drawn = []
    monkeypatch.setattr("keras_segattn.visualize.attention.to_image", lambda figure: drawn.append(figure.axes[0]))
    for count in (TOKENS, TOKENS + 1):
        alignment(np.full((2, count), 0.5), ["a"] * count, ["b", "c"])
    assert [axes.get_xlabel() for axes in drawn] == ["", f"the first {TOKENS} of {TOKENS + 1} tokens read"]
    assert [axes.get_ylabel() for axes in drawn] == ["", ""]
    kept, note = masks._largest({label: str(label) for label in range(50)}, {label: label for label in range(50)})
    assert (list(kept), note) == (list(range(10, 50)), "the 40 largest of 50 classes")
    assert masks._largest({1: "a", 0: "b"}, {0: 1, 1: 2}) == ({0: "b", 1: "a"}, "")
    assert [cut_note(3, count, "charts") for count in (3, 4)] == ["", "the first 3 of 4 charts"]
    assert shortened("x" * LETTERS) == "x" * LETTERS
    assert (len(shortened(LONG)), shortened(LONG)[-1]) == (LETTERS, "…")


@pytest.mark.parametrize("size", [(7, 9), (100, 100), (101, 99), (4000, 3), (250, 333)])
def test_pictures_and_masks_are_reduced_alike(size):
    factor = reduction(size, 10_000)
    image = reduced(np.zeros((*size, 3), "uint8"), factor)
    assert image.shape[:2] == np.zeros(size)[::factor, ::factor].shape
    assert factor == 1 or np.prod(size) / factor**2 <= 10_000


def test_large_pictures_are_drawn_smaller(small):
    random = np.random.default_rng(0)
    image = np.asarray(Image.fromarray(random.integers(0, 255, (8, 12, 3), dtype=np.uint8)).resize((1200, 800)))
    mask = np.zeros((800, 1200), int)
    mask[200:600, 300:900] = 1
    plain = visualize.overlay(image, mask)
    assert plain.size == (600, 400) or max(plain.size) < 1024
    assert max(visualize.side_by_side(image, mask, mask, labels=["sea", "land"]).size) < 1400
    boxes, labels = np.array([[300.0, 200.0, 900.0, 600.0]]), np.array([1])
    found = np.asarray(draw_instances(image, boxes, labels, masks=(mask == 1)[None]))
    assert max(found.shape) < 1024
    rows, columns = found.shape[:2]
    tinted = np.asarray(draw_instances(np.zeros_like(image), boxes, labels, masks=(mask == 1)[None]))
    inside = tinted[rows // 2, columns // 2].sum() > 0
    outside = tinted[rows // 10, columns // 2].sum() == 0
    assert inside
    assert outside


@pytest.mark.thorough
def test_48_megapixels_are_drawn_in_seconds():
    image, mask = np.zeros((6000, 8000, 3), "uint8"), np.zeros((6000, 8000), "uint8")
    mask[1000:5000, 1000:7000] = 1
    begun = time.process_time()
    assert visualize.overlay(image, mask, labels=["sea", "land"]).width < 5000
    boxes = np.array([[1000.0, 1000, 7000, 5000]] * 20)
    draw_instances(image, boxes, np.ones(20, int), masks=np.broadcast_to(mask == 1, (20, 6000, 8000)))
    assert time.process_time() - begun < 3 * SECONDS
