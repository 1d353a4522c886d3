"""Reading of a SavedModel's graph, and checks for properties that make it fail in a server."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_segattn.export.report import Check, ExportError

PREDICT = "tensorflow/serving/predict"
# Initialisation function that TensorFlow lists among the signatures; clients do not call it.
INIT_OP = "__saved_model_init_op"
# Operators that load and then fail at the first request, since the server has no Python.
PYTHON_OPERATORS = frozenset({"EagerPyFunc", "NumpyFunction", "PyFunc", "PyFuncStateless"})


def read_meta_graph(directory: Path) -> Any:
    """Read the MetaGraphDef with the tag `serve`, or the first one if none has the tag.

    Raises:
        ExportError: if the folder holds no SavedModel or its graph is corrupt.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    file = directory / "saved_model.pb"
    if not file.is_file():
        raise ExportError(f"{directory} is no SavedModel: expected a file saved_model.pb in it")
    saved_model = saved_model_pb2.SavedModel()
    try:
        saved_model.ParseFromString(file.read_bytes())
    except DecodeError as error:
        raise ExportError(f"{file} is corrupt or no SavedModel: {error}") from error
    if not saved_model.meta_graphs:
        raise ExportError(f"{file} is empty: expected a graph with tag 'serve'")
    served = [graph for graph in saved_model.meta_graphs if "serve" in graph.meta_info_def.tags]
    return (served or saved_model.meta_graphs)[0]


def signature_defs(meta_graph: Any) -> dict[str, Any]:
    """Return signature → SignatureDef, `serving_default` first."""
    signatures = meta_graph.signature_def
    names = sorted(set(signatures) - {INIT_OP}, key=lambda name: (name != "serving_default", name))
    return {name: signatures[name] for name in names}


def shape_of(tensor: Any) -> tuple[int | None, ...] | None:
    """Return the static shape of a TensorInfo, with `None` for unknown sizes; `None` if the rank is unknown."""
    if tensor.tensor_shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in tensor.tensor_shape.dim)


def dtype_of(tensor: Any) -> str:
    """Return the name of a TensorInfo's dtype, such as `"uint8"`."""
    import tensorflow as tf

    return tf.as_dtype(tensor.dtype).name


def describe_signatures(meta_graph: Any) -> dict[str, dict[str, dict[str, str]]]:
    """Return signature → inputs and outputs → name → text such as `"uint8[?, 64, 64, 3]"`, for a report."""

    def text(tensor: Any) -> str:
        shape = shape_of(tensor)
        sizes = "unknown rank" if shape is None else ", ".join("?" if size is None else str(size) for size in shape)
        return f"{dtype_of(tensor)}[{sizes}]"

    return {
        name: {
            side: {key: text(tensors[key]) for key in sorted(tensors)}
            for side, tensors in (("inputs", signature.inputs), ("outputs", signature.outputs))
        }
        for name, signature in signature_defs(meta_graph).items()
    }


def nodes(meta_graph: Any) -> Iterator[Any]:
    """Yield every node of the graph and of the functions that it may call."""
    yield from meta_graph.graph_def.node
    for function in meta_graph.graph_def.library.function:
        yield from function.node_def


def count_operators(meta_graph: Any) -> dict[str, int]:
    """Return operator → number of its nodes; calls of the graph's own functions do not count."""
    functions = {function.signature.name for function in meta_graph.graph_def.library.function}
    return dict(Counter(node.op for node in nodes(meta_graph) if node.op not in functions))


def lint(meta_graph: Any) -> list[Check]:
    """Check whether the graph suits a server that batches requests.

    It must have the tag `serve`, a signature `serving_default`, the method `tensorflow/serving/predict`, and on every
    input and output an open first dimension (so a rank of at least 1). It must not have operators that need Python, or
    functions that XLA must compile.
    """
    tags = sorted(meta_graph.meta_info_def.tags)
    signatures = signature_defs(meta_graph)
    methods = sorted({signature.method_name for signature in signatures.values()})
    fixed = [
        f"{name}/{key}"
        for name, signature in signatures.items()
        for tensors in (signature.inputs, signature.outputs)
        for key in sorted(tensors)
        if (shape := shape_of(tensors[key])) is not None and shape[:1] != (None,)
    ]
    python = sorted(PYTHON_OPERATORS & set(count_operators(meta_graph)))
    attributes = [node.attr for node in nodes(meta_graph)]
    attributes += [function.attr for function in meta_graph.graph_def.library.function]
    compiled = sum("_XlaMustCompile" in attribute and attribute["_XlaMustCompile"].b for attribute in attributes)
    return [
        Check("tag", "serve" in tags, ", ".join(tags) or "none", "serve"),
        Check("signatures", "serving_default" in signatures, ", ".join(signatures) or "none", "with serving_default"),
        Check("method", methods == [PREDICT], ", ".join(methods) or "none", PREDICT),
        Check("open batch dimension", not fixed, ", ".join(fixed) + " fixed" if fixed else "all", "all"),
        Check("no Python operators", not python, ", ".join(python) or "none", "none"),
        Check("no XLA-only functions", not compiled, f"{compiled}", "0"),
    ]


def stored_weight_bytes(directory: Path) -> int:
    """Return the number of bytes of all variables in a SavedModel.

    Raises:
        ExportError: if the files of the variables are missing or damaged.
    """
    import math

    import tensorflow as tf

    try:
        checkpoint = tf.train.load_checkpoint(str(directory / "variables" / "variables"))
    except (tf.errors.OpError, ValueError) as error:
        raise ExportError(f"{directory} has no readable variables: {error}") from error
    dtypes = checkpoint.get_variable_to_dtype_map()
    shapes = checkpoint.get_variable_to_shape_map()
    return sum(math.prod(shapes[name]) * dtype.size for name, dtype in dtypes.items() if dtype != tf.string)
