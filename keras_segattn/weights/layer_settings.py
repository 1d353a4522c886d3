"""Settings of layers that a file of a whole Keras model describes, compared with those of the model to fill."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from keras_segattn import registry
from keras_segattn.graph import children

# Settings without weights that change what a layer computes.
_SETTINGS = ("strides", "dilation_rate", "epsilon")
# Further ones, which networks of different builders express in different ways, such as padding by a layer of its own.
_OF_ONE_BUILDER = (*_SETTINGS, "padding", "pool_size")
# Relative difference of epsilons that makes no difference: keras.applications has 1.001e-5.
_EPSILON = 1e-2


def layer_settings(text: str | bytes) -> dict[str, Mapping[str, Any]]:
    """Return the settings of all layers in the JSON text of a model, by name; inside models `"model/layer"`."""
    return dict(_settings(json.loads(text)["config"], ""))


def _settings(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for layer in config.get("layers", ()):
        if isinstance(layer, Mapping) and isinstance(inner := layer.get("config"), Mapping) and "name" in inner:
            name = f"{prefix}{inner['name']}"
            yield name, {**inner, "class_name": layer.get("class_name")}
            yield from _settings(inner, f"{name}/")


def other_settings(model: keras.Model, settings: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Describe the first layer of a model that computes something else than the file's layer of its name, if any.

    Args:
        model: model to fill.
        settings: settings of the file's layers by name.
    """
    builders = [card.name for card in registry.cards_of(model)[:1]]
    same_builder = any(config.get("card") in builders for config in settings.values())
    layers = dict(_layers(model, ""))
    for name, layer in layers.items():
        for setting in _OF_ONE_BUILDER if same_builder else _SETTINGS:
            value, own = _plain(settings.get(name, {}).get(setting)), _plain(getattr(layer, setting, None))
            if None not in (value, own) and not _equal(value, own):
                return f"{setting}={value} in layer {name!r}, which has {own} in the model"
    if same_builder:
        ours = {name for name, layer in layers.items() if isinstance(layer, keras.layers.ZeroPadding2D)}
        theirs = {name for name, config in settings.items() if config["class_name"] == "ZeroPadding2D"}
        for name in sorted(ours ^ theirs):
            return f"{'no ' if name in ours else ''}padding by layer {name!r}"
    return None


def _layers(layer: keras.layers.Layer, prefix: str) -> Iterator[tuple[str, keras.layers.Layer]]:
    for child in children(layer):
        yield f"{prefix}{child.name}", child
        yield from _layers(child, f"{prefix}{child.name}/")


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _equal(theirs: Any, ours: Any) -> bool:
    if isinstance(theirs, float) and isinstance(ours, float):
        return math.isclose(theirs, ours, rel_tol=_EPSILON)
    return bool(theirs == ours)
