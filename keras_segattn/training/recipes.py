"""Functions that the training recipes of all tasks share."""

from collections.abc import Mapping
from typing import TypeVar

import keras

from keras_segattn.arguments import unknown

R = TypeVar("R")


def resolve_recipe(recipe: str | R, recipes: Mapping[str, R]) -> R:
    """Return a recipe by its name, or the recipe itself.

    Args:
        recipe: name in `recipes`, or a recipe of one of their classes.
        recipes: recipes of a task by name.

    Raises:
        TypeError: if it is neither a name nor such a recipe.
        ValueError: if there is no recipe of that name.

    Example:
        >>> resolve_recipe("adamw-cosine", SEGMENTATION_RECIPES).learning_rate
        0.0005
    """
    if not isinstance(recipe, str):
        kinds = {type(one) for one in recipes.values()}
        if type(recipe) not in kinds:
            names = sorted(kind.__name__ for kind in kinds)
            raise TypeError(f"recipe must be a name or a {' or '.join(names)}, received {type(recipe).__name__}")
        return recipe
    if recipe not in recipes:
        raise ValueError(unknown("recipe", recipe, recipes))
    return recipes[recipe]


def cosine_decay(learning_rate: float, steps: int, warmup: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Make a schedule that rises linearly from 0 in `warmup` of the `steps`, and falls to 0 in the others."""
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else learning_rate,
        max(1, steps - warmup),
        warmup_target=learning_rate if warmup else None,
        warmup_steps=warmup,
    )
