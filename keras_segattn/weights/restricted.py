"""Reading of pickles without executing them: every name in the file means an inert object of ours, or is refused."""

import pickle
from collections import OrderedDict
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
    """Placeholder for a value that is not needed, whatever it is made from or filled with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs

    def __setstate__(self, state: Any) -> None:
        del state

    def append(self, item: Any) -> None:
        """Drop the item of a list."""
        del item

    def extend(self, items: Any) -> None:
        """Drop the items of a list."""
        del items

    def __setitem__(self, key: Any, value: Any) -> None:
        """Drop the item of a dict."""
        del key, value


class InertDict(dict[Any, Any]):
    """Placeholder for a configuration, which is a dict with further settings."""

    def __setstate__(self, state: Any) -> None:
        del state


_NUMBERS = (
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 bfloat16 complex64 complex128"
)
_SMALL_NUMBERS = "qint8 quint8 qint32 float8_e4m3fn float8_e5m2"
_BUILTINS = "Ellipsis bool bytearray bytes complex dict float frozenset int list object range set slice str tuple"
_PATHS = "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath"
_CONFIGS = "Config ConfigDict CfgNode AttributeDict EasyDict Dict"
# Module → names of the values that programs keep beside tensors. None is imported: a placeholder stands for each.
_INERT = {
    "argparse": "Namespace",
    "types": "SimpleNamespace",
    "builtins": _BUILTINS,
    "__builtin__": f"{_BUILTINS} long unicode xrange",
    "collections": "ChainMap deque",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID",
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,
    "numpy": f"{_NUMBERS} bool_ str_",
    "numpy.core.multiarray": "scalar",
    "numpy._core.multiarray": "scalar",
    "numpy.ma": "MaskedArray",
    "numpy.ma.core": "_mareconstruct MaskedArray",
    "numpy.random._pickle": "__randomstate_ctor __bit_generator_ctor __generator_ctor",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64",
    "torch": f"{_NUMBERS} {_SMALL_NUMBERS} device strided sparse_coo sparse_csr contiguous_format preserve_format "
    "channels_last per_tensor_affine per_channel_affine Generator",
    "torch._C": "Generator",
    "torch._utils": "_rebuild_sparse_tensor _rebuild_sparse_csr_tensor _rebuild_nested_tensor _rebuild_qtensor "
    "_rebuild_tensor_v3 _rebuild_meta_tensor_no_storage",
    "torch.serialization": "_get_layout",
    "torch.torch_version": "TorchVersion",
    "torchvision.transforms.functional": "InterpolationMode",
    "PIL.Image": "Resampling",
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.base": "ContainerMetadata Metadata",
    "omegaconf.nodes": "AnyNode BooleanNode FloatNode IntegerNode StringNode",
    "typing": "Any",
}
_INERT_DICTS = {
    "addict.addict": _CONFIGS,
    "detectron2.config.config": _CONFIGS,
    "easydict": _CONFIGS,
    "fvcore.common.config": _CONFIGS,
    "lightning.fabric.utilities.data": _CONFIGS,
    "lightning_fabric.utilities.data": _CONFIGS,
    "mmcv.utils.config": _CONFIGS,
    "mmengine.config.config": _CONFIGS,
    "pytorch_lightning.utilities.parsing": _CONFIGS,
    "yacs.config": _CONFIGS,
}


class RestrictedUnpickler(pickle._Unpickler):
    """Unpickler that knows only the names that `resolve` allows.

    It is based on the implementation in Python: the one in C reserves as much memory as a file asks for.
    """

    hint = ""

    def resolve(self, module: str, name: str) -> Any:
        """Return the inert object that stands for `module.name`, or `None` to refuse it.

        Classes are made anew for each use, as a pickle may set attributes of them.
        """
        if name in _INERT.get(module, "").split():
            return type(name, (Inert,), {})
        if name in _INERT_DICTS.get(module, "").split():
            return type(name, (InertDict,), {})
        return {
            "collections.OrderedDict": OrderedDict,
            "collections.defaultdict": Allowed(lambda *_factory: {}),
            "collections.Counter": Allowed(dict),
        }.get(f"{module}.{name}")

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
