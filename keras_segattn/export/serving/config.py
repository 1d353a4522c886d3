"""Configuration of TensorFlow Serving: two files beside the models, and one in each version that may be batched."""

from collections.abc import Mapping
from pathlib import Path

from keras_segattn.endpoints import Endpoint
from keras_segattn.export.report import ExportError
from keras_segattn.files import replaced

MODELS_FILE = "models.config"
BATCHING_FILE = "batching_parameters.txt"
# Name that the server looks for in a version directory.
VERSION_BATCHING_FILE = "batching_params.pbtxt"
MAX_BATCH_SIZE = 32
# The server pads batches to one of these sizes, so that few shapes occur; the last one must be the largest batch.
ALLOWED_BATCH_SIZES = (1, 2, 4, 8, 16, MAX_BATCH_SIZE)
BATCHING_FLAGS = f"--enable_batching --enable_per_model_batching_parameters --batching_parameters_file={BATCHING_FILE}"
BATCHING = f"""\
# tensorflow_model_server --model_config_file={MODELS_FILE} {BATCHING_FLAGS}
# How the requests of a model are batched is said in {VERSION_BATCHING_FILE} of its version. Only models whose inputs
# have fixed sizes have that file, since requests of different sizes, such as sentences of several lengths, cannot
# share a batch. Never set pad_variable_length_inputs: it pads with the first value of an input, such as the first
# word of a sentence, and the answers are wrong without an error.
# Number of threads for the batches of all models: usually the number of CPU cores, or 2 with one GPU.
num_batch_threads {{ value: 4 }}
"""
VERSION_BATCHING = f"""\
# All sizes of the inputs but the number of examples are fixed, so that requests of several clients can share a batch.
# Flags of the server: {BATCHING_FLAGS}
max_batch_size {{ value: {MAX_BATCH_SIZE} }}
# Time that a request waits for others to share its batch.
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 100 }}
""" + "".join(f"allowed_batch_sizes: {size}\n" for size in ALLOWED_BATCH_SIZES)
MODELS_COMMENT = f"""\
# tensorflow_model_server --model_config_file={MODELS_FILE} --grpc_max_threads=64
# By default there are 4 gRPC threads per core, and requests beyond them are refused.
# To batch requests of several clients, add {BATCHING_FLAGS}
# (without --enable_per_model_batching_parameters, requests of different sizes would fail).
# A base_path is absolute; in a container it is the path at which the folder is mounted.
# To publish a version by hand, copy it to a name that is no number and then rename it with mv, since the server loads
# a version as soon as it sees its number.
"""


def fixed_sizes(endpoints: Mapping[str, Endpoint]) -> bool:
    """Whether all sizes of all inputs but the batch are fixed, so that any two requests can share a batch."""
    return not any(None in spec.shape[1:] for endpoint in endpoints.values() for spec in endpoint.inputs.values())


def write_version_batching(directory: Path, endpoints: Mapping[str, Endpoint]) -> None:
    """Write `batching_params.pbtxt` into a version directory if requests of its signatures can share a batch."""
    if fixed_sizes(endpoints):
        (directory / VERSION_BATCHING_FILE).write_text(VERSION_BATCHING, encoding="utf-8")


def write_serving_config(base: Path, name: str) -> None:
    """Add a model to `models.config`, keeping its other entries, and write `batching_parameters.txt` if missing.

    Args:
        base: folder of all models.
        name: name of the model and of its folder.

    Raises:
        ExportError: if `models.config` exists and is not in TensorFlow Serving's format.
        OSError: if a file cannot be written.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    file = base / MODELS_FILE
    config = model_server_config_pb2.ModelServerConfig()
    if file.exists():
        try:
            text_format.Parse(file.read_text(encoding="utf-8"), config)
        except text_format.ParseError as error:
            raise ExportError(f"{file} is not a ModelServerConfig, mend or remove it: {error}") from error
    models = config.model_config_list.config
    if all(model.name != name for model in models):
        models.add(name=name, base_path=str((base / name).resolve()), model_platform="tensorflow")
        with replaced(file) as temporary:
            temporary.write_text(MODELS_COMMENT + text_format.MessageToString(config), encoding="utf-8")
    if not (base / BATCHING_FILE).exists():
        with replaced(base / BATCHING_FILE) as temporary:
            temporary.write_text(BATCHING, encoding="utf-8")
