"""Segmentation and attention architectures for Keras 3, one builder per paper.

The builders' names come from the registry. Importing this package is as quick as importing Keras: `data`, `training`,
`export` and `visualize` load when first used. The command `segattn` loads nothing before it needs it, so that its help
is quick.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the builders, for type checkers and editors; at run time they come from the registry
    from keras_segattn.attention import *  # noqa: F403
    from keras_segattn.classification import *  # noqa: F403
    from keras_segattn.generation import *  # noqa: F403
    from keras_segattn.instances import *  # noqa: F403
    from keras_segattn.segmentation import *  # noqa: F403

# Folders of architectures, in the order in which their models are listed.
FAMILIES = ("classification", "segmentation", "instances", "attention", "generation")
PACKAGES = ("data", "export", "layers", "losses", "metrics", "ops", "tasks", "training", "visualize", "weights")
# Other public names by their module.
NAMES = {
    "application": ("Application", "load", "save"),
    "facts": ("Facts", "facts_of", "preprocessing_of", "read_facts"),
    "fields": ("Picture",),
    "registry": ("get_model", "list_models", "model_card"),
}


def builders() -> dict[str, Any]:
    """Load all families and return the registered builders by name."""
    for family in FAMILIES:
        import_module(f"keras_segattn.{family}")
    registry = import_module("keras_segattn.registry")
    return {name: registry.model_card(name).builder for name in registry.list_models()}


def __getattr__(name: str) -> Any:
    """Load a package, a builder or another public name on first use."""
    if name == "__version__":
        from importlib.metadata import version

        return version("keras-segattn")
    if not name.startswith("__") and find_spec(f"keras_segattn.{name}"):
        return import_module(f"keras_segattn.{name}")
    for module, names in NAMES.items():
        if name in names:
            builders()  # all families: lists of models and recognition must not depend on what was used before
            return getattr(import_module(f"keras_segattn.{module}"), name)
    if name == "__all__":
        return sorted([*builders(), *PACKAGES, *(public for names in NAMES.values() for public in names)])
    if not name.startswith("_") and name in (found := builders()):
        return found[name]
    raise AttributeError(f"module 'keras_segattn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__getattr__("__all__"), "__version__"]


# Keras finds layers of other packages in files only if they were imported. The command imports them when it needs them.
if Path(sys.argv[0] if sys.argv else "").stem != "segattn":
    globals().update(builders())
    import_module("keras_segattn.layers")
