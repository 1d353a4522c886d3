import keras
import pytest

from keras_segattn.training import SEGMENTATION_RECIPES, CaffeSGD, SegmentationRecipe

STEPS = 100


def test_paper_recipe_is_the_default():
    paper = SEGMENTATION_RECIPES["fcn"]
    assert (paper.learning_rate, paper.momentum, paper.weight_decay) == (1e-4, 0.9, 5e-4)
    assert (paper.normalization, paper.schedule, paper.batch_size) == ("mean", "constant", 20)
    optimizer = paper.make_optimizer(STEPS)
    assert isinstance(optimizer, CaffeSGD)
    assert optimizer.bias_learning_rate_multiplier == 2


@pytest.mark.parametrize(
    ("name", "rate"),
    [("fcn32s-heavy", 1e-10), ("fcn16s-heavy", 1e-12), ("fcn8s-heavy", 1e-14), ("fcn8s-atonce-heavy", 1e-10)],
)
def test_released_solvers(name, rate):
    recipe = SEGMENTATION_RECIPES[name]
    assert (recipe.learning_rate, recipe.momentum, recipe.normalization, recipe.batch_size) == (rate, 0.99, "sum", 1)
    assert recipe.make_loss(ignore_label=0).normalization == "sum"


def test_cosine_schedule_warms_up_and_ends_at_zero():
    recipe = SegmentationRecipe("adamw", 0.5, schedule="cosine", warmup=0.1)
    rate = recipe.make_optimizer(STEPS)._learning_rate
    assert float(rate(0)) == 0
    assert float(rate(10)) == pytest.approx(0.5)
    assert float(rate(STEPS)) == pytest.approx(0, abs=1e-6)
    assert [float(rate(step)) for step in (2, 5, 55)] == pytest.approx([0.1, 0.25, 0.25])


def test_polynomial_schedule():
    rate = SegmentationRecipe("sgd", 0.5, schedule="polynomial").make_optimizer(STEPS)._learning_rate
    assert [float(rate(step)) for step in (0, 50, 100)] == pytest.approx([0.5, 0.5 * 0.5**0.9, 0], abs=1e-6)


@pytest.mark.parametrize("name", SEGMENTATION_RECIPES)
def test_every_recipe_updates_a_kernel(name):
    kernel = keras.Variable([[0.0, 0.0]], name="kernel")  # near 1.0, float32 would lose an update of 1e-10
    optimizer = SEGMENTATION_RECIPES[name].make_optimizer(STEPS)
    optimizer.build([kernel])
    before = kernel.numpy().copy()
    for _ in range(2):  # the first step of a warm-up has rate 0
        optimizer.apply([keras.ops.ones_like(kernel)], [kernel])
    assert (kernel.numpy() < before).all()


@pytest.mark.parametrize(
    "bad",
    [{"optimizer": "adam"}, {"schedule": "step"}, {"normalization": "none"}, {"learning_rate": 0.0}, {"warmup": 0.1}],
)
def test_bad_recipes(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        SegmentationRecipe(**bad)
