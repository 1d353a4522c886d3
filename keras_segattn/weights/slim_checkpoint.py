"""TensorFlow checkpoints with variables by name, as TF-slim's model zoo and facenet publish them.

The table format and its compression are TensorFlow's, so TensorFlow reads them, on every Keras backend.
"""

import re
from pathlib import Path

from keras_segattn.weights.report import WeightsError
from keras_segattn.weights.weight_file import WeightFile, unreadable

FORMAT = "TensorFlow checkpoint"
# The last bytes of a table: of a whole checkpoint of the old format, or of the index of a new one.
_TABLE_MAGIC = bytes.fromhex("57fb808b247547db")
_AVERAGE = "/ExponentialMovingAverage"
# State of optimisers beside the variables, and counters.
_STATE = re.compile(r"(^|/)(global_step|beta[12]_power|learning_rate)$|/(Adam|RMSProp|Momentum|Adagrad)(_\d+)?$")
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def is_checkpoint(path: Path) -> bool:
    """Whether the path is a checkpoint's only file, or the prefix of its files (`PREFIX.index`)."""
    if path.name and path.with_name(f"{path.name}.index").is_file():
        return True
    if not path.is_file() or path.stat().st_size < len(_TABLE_MAGIC):
        return False
    with path.open("rb") as file:
        file.seek(-len(_TABLE_MAGIC), 2)
        return file.read() == _TABLE_MAGIC


def read(path: Path) -> WeightFile:
    """Read a checkpoint of either format; where a variable has a moving average, the average is its value.

    Args:
        path: path of the file of the old format, or `PREFIX` or `PREFIX.index` of the new one.

    Returns:
        Tensors named `"scope.variable"`, such as `"InceptionV4/Conv2d_1a_3x3.weights"`; state of optimisers, and values
        that averages replace, count as ignored.

    Raises:
        WeightsError: if the file is corrupt or a part of it is missing, or it holds Keras objects instead of names.
    """
    import tensorflow as tf

    prefix = str(path).removesuffix(".index")
    try:
        reader = tf.train.load_checkpoint(prefix)
        names = list(reader.get_variable_to_shape_map())
        if _OBJECT_GRAPH in names:
            raise unreadable(path, "a checkpoint with variables by name", "one of objects: use model.load_weights")
        values = {name: reader.get_tensor(name) for name in sorted(names) if not _STATE.search(name)}
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        if isinstance(error, WeightsError):
            raise
        raise unreadable(path, f"a {FORMAT}", f"a damaged or incomplete one ({error})") from error
    averaged = {name.removesuffix(_AVERAGE) for name in values if name.endswith(_AVERAGE)}
    ignored = [name for name in names if _STATE.search(name)] + sorted(averaged & values.keys())
    tensors = {}
    for name, value in values.items():
        if name in averaged:
            continue
        scope, _, variable = name.removesuffix(_AVERAGE).rpartition("/")
        tensors[f"{scope}.{variable}"] = value
    return WeightFile(path, FORMAT, "keras", tensors, tuple(ignored), background=True)
