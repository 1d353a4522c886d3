"""State dicts of PyTorch in the wrappings that training programs leave around them."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_segattn.weights.pickled_arrays import PickledArray
from keras_segattn.weights.weight_file import WeightFile

# Keys under which programs store the weights themselves, not their moving average.
_PREFERRED = ("model_state_dict", "state_dict", "model")
# Names of attributes in which PyTorch's own wrappers keep a module, at any depth.
_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})


@dataclass(frozen=True)
class StateDict:
    """A flat dict of tensors inside a file.

    Args:
        keys: keys that lead to it.
        tensors: name → tensor, in any form.
        ignored: names of all entries that are not in it.
    """

    keys: tuple[str, ...]
    tensors: Mapping[str, Any]
    ignored: tuple[str, ...]

    def weight_file(self, path: Path, form: str, array: Callable[[Any], np.ndarray]) -> WeightFile:
        """Turn the tensors into arrays."""
        place = ".".join(map(repr, self.keys))
        tensors = {name: array(tensor) for name, tensor in self.tensors.items()}
        return WeightFile(path, form, "torch", tensors, self.ignored, place)


def state_dicts(content: Any, is_tensor: Callable[[Any], bool]) -> list[StateDict]:
    """Find all dicts of tensors in nested dicts and lists, those under the usual keys first.

    Args:
        content: content of a file, as unpickled.
        is_tensor: whether a value is a tensor; NumPy arrays of numbers are too.
    """

    def found(value: Any) -> bool:
        return is_tensor(value) or (isinstance(value, PickledArray) and value.is_numeric())

    states = list(_state_dicts(content, found, (), (), set()))
    return sorted(states, key=lambda state: min(map(_rank, state.keys), default=len(_PREFERRED)))


def _rank(key: str) -> int:
    return _PREFERRED.index(key) if key in _PREFERRED else len(_PREFERRED)


def _state_dicts(
    content: Any, found: Callable[[Any], bool], keys: tuple[str, ...], ignored: tuple[str, ...], seen: set[int]
) -> Iterator[StateDict]:
    # A pickle may contain itself, or one dict in exponentially many places.
    if not isinstance(content, Mapping | list | tuple) or id(content) in seen:
        return
    seen.add(id(content))
    if isinstance(content, list | tuple):
        content = dict(zip(map(str, range(len(content))), content, strict=True))
    if not all(isinstance(key, str) for key in content):  # optimisers number their parameters
        return
    tensors = {key: value for key, value in content.items() if found(value)}
    if tensors:
        yield StateDict(keys, tensors, (*ignored, *(key for key in content if key not in tensors)))
    for key, value in content.items():
        if "optim" not in key.lower():
            others = tuple(other for other in content if other != key)
            yield from _state_dicts(value, found, (*keys, key), (*ignored, *others), seen)


def alternatives(files: list[WeightFile]) -> WeightFile:
    """Return the first of several sets of tensors in a file, with all others as its `others`."""
    return replace(files[0], others=tuple(files[1:]))


def unwrapped(file: WeightFile, known: Collection[str]) -> WeightFile:
    """Choose the state dict, and the prefix of its names to leave out, with most of the names that a model knows.

    Args:
        file: file in PyTorch's layout.
        known: names `"layer.leaf"` by which the model finds tensors.

    Returns:
        The file with that state dict, whose `format` says what was chosen. Numbers beside the layers, such as
        `n_averaged`, and networks under other prefixes that fit as well, count as ignored.
    """
    choices = [_Choice.best(state, known) for state in (file, *file.others)]
    chosen = max(choices, key=lambda choice: choice.score)
    tensors, ignored = {}, list(chosen.state.ignored)
    for name, value in chosen.state.tensors.items():
        plain, (prefix, *others) = chosen.plain[name], chosen.prefixes
        short = plain.removeprefix(prefix)
        beside = any(plain.startswith(other) and plain.removeprefix(other) in known for other in others)
        if beside and short not in known:
            ignored.append(name)  # of another whole network, such as the teacher of this student
        elif "." not in short and value.ndim == 0 and short not in known:
            ignored.append(name)
        else:
            # A name that the file also has without the prefix stays as it is.
            tensors[name if short in chosen.state.tensors else short] = value
    equal = [other.state.place or "the outermost dict" for other in choices if other.score == chosen.score > 0]
    words = [word for word in (chosen.state.place, *chosen.left_out()) if word]
    words += [f"{place} fits too" for place in equal if place != (chosen.state.place or "the outermost dict")]
    return replace(
        chosen.state,
        format=": ".join(filter(None, [file.format, ", ".join(words)])),
        tensors=tensors or chosen.state.tensors,
        ignored=tuple(ignored),
        others=(),
    )


@dataclass(frozen=True)
class _Choice:
    """A way to read a state dict.

    Args:
        state: the state dict.
        plain: name → name without PyTorch's own wrappers.
        prefixes: the prefixes without which most names are known, the chosen one first.
        score: number of names that are known without the prefix.
    """

    state: WeightFile
    plain: Mapping[str, str]
    prefixes: tuple[str, ...]
    score: int

    @classmethod
    def best(cls, state: WeightFile, known: Collection[str]) -> "_Choice":
        plain = {name: ".".join(part for part in name.split(".") if part not in _WRAPPERS) for name in state.tensors}
        if len({*plain.values()}) < len(plain):  # the wrapped network lies beside the plain one
            plain = {name: name for name in plain}
        counts = Counter({"": 0})
        for name in plain.values():
            ends = [0, *(end + 1 for end, letter in enumerate(name) if letter == ".")]
            counts.update(name[:end] for end in ends if name[end:] in known)
        score = max(counts.values())
        best = sorted((prefix for prefix, count in counts.items() if count == score), key=lambda prefix: prefix != "")
        return cls(state, plain, tuple(best) if score else ("",), score)

    def left_out(self) -> Iterator[str]:
        """Say what the names in the file have in addition."""
        wrappers = {part for name in self.plain for part in name.split(".")} & _WRAPPERS
        if any(name != plain for name, plain in self.plain.items()):
            yield from (f"without {wrapper + '.'!r}" for wrapper in sorted(wrappers))
        if self.prefixes[0]:
            yield f"without {self.prefixes[0]!r}"
        yield from (f"prefix {prefix!r} fits too" for prefix in self.prefixes[1:])
