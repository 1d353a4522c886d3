"""Reading pickles without executing them: every name in the file means an inert object of ours, or is refused."""

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras_segattn.weights.report import WeightsError
from keras_segattn.weights.weight_file import unreadable


class RefusedGlobalError(pickle.UnpicklingError):
    """A pickle names something that is not needed to describe tensors."""


class Allowed:
    """A callable that a pickle may use. A fresh one per mention, so that no pickle can alter a shared object."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        """Call through."""
        return self._call(*args)


class Inert:
    """Stands for a value that is of no interest, whatever it was made from."""

    def __init__(self, *args: Any) -> None:
        del args

    def __setstate__(self, state: Any) -> None:
        del state


class RestrictedUnpickler(pickle._Unpickler):
    """Unpickler to which exist only the names that `resolve` knows.

    It is Python's implementation in Python: the one in C reserves as much memory as a file asks for.
    """

    hint = ""

    def resolve(self, module: str, name: str) -> Any:
        """The inert object that stands for `module.name`, or `None` to refuse it."""
        raise RefusedGlobalError(f"{module}.{name}")

    def find_class(self, module: str, name: str) -> Any:
        """Called by `pickle` for every name in the file."""
        found = self.resolve(module, name)
        if found is None:
            raise RefusedGlobalError(
                f"the name {module}.{name}, refused: any but the few names of tensors could execute code{self.hint}"
            )
        return found


@contextmanager
def corrupt_as(path: Path, expected: str) -> Iterator[None]:
    """Turn whatever goes wrong in interpreting a foreign file's bytes into a `WeightsError` naming the file."""
    try:
        yield
    except WeightsError:
        raise
    except RefusedGlobalError as error:
        raise unreadable(path, f"{expected} of plain tensors", error) from None
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # nonsense bytes lead to any error; each is the file's fault and none is swallowed
        raise unreadable(
            path, f"an intact {expected.removeprefix('a ')}", f"{type(error).__name__}: {error}"
        ) from error
