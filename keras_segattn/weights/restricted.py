"""Reading of pickles without executing them: every name in the file means an inert object of ours, or is refused."""

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
    """A callable that a pickle may use. Every use gets a new one, so that no pickle can alter a shared object."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        """Call the wrapped callable."""
        return self._call(*args)


class Inert:
    """Placeholder for a value that is not needed, whatever it is made from."""

    def __init__(self, *args: Any) -> None:
        del args

    def __setstate__(self, state: Any) -> None:
        del state


class RestrictedUnpickler(pickle._Unpickler):
    """Unpickler that knows only the names that `resolve` allows.

    It is based on the implementation in Python: the one in C reserves as much memory as a file asks for.
    """

    hint = ""

    def resolve(self, module: str, name: str) -> Any:
        """Return the inert object that stands for `module.name`, or `None` to refuse it."""
        raise RefusedGlobalError(f"{module}.{name}")

    def find_class(self, module: str, name: str) -> Any:
        """Resolve a name, or refuse it; `pickle` calls this for every name in the file."""
        found = self.resolve(module, name)
        if found is None:
            raise RefusedGlobalError(
                f"the name {module}.{name}, refused: any but the few names of tensors could execute code{self.hint}"
            )
        return found


@contextmanager
def corrupt_as(path: Path, expected: str) -> Iterator[None]:
    """Turn any error in interpreting a foreign file's bytes into a `WeightsError` that names the file."""
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
