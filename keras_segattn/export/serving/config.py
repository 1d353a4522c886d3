"""The two configuration files of TensorFlow Serving, which stand beside the models."""

from pathlib import Path

from keras_segattn.export.report import ExportError
from keras_segattn.files import replaced

MODELS_FILE = "models.config"
BATCHING_FILE = "batching_parameters.txt"
MAX_BATCH_SIZE = 32
# The server pads batches to one of these sizes, so that few shapes occur; the last one must be the largest batch.
ALLOWED_BATCH_SIZES = (1, 2, 4, 8, 16, MAX_BATCH_SIZE)
BATCHING = f"""\
# tensorflow_model_server --enable_batching --batching_parameters_file=batching_parameters.txt
max_batch_size {{ value: {MAX_BATCH_SIZE} }}
# All pictures of a batch must have one size: export with `sizes` if clients send pictures of any size.
# Time that a request waits for others to share its batch.
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 100 }}
# Usually the number of CPU cores, or 2 with one GPU.
num_batch_threads {{ value: 4 }}
""" + "".join(f"allowed_batch_sizes: {size}\n" for size in ALLOWED_BATCH_SIZES)
MODELS_COMMENT = """\
# tensorflow_model_server --model_config_file=models.config
# A base_path is absolute; in a container it is the path at which the folder is mounted.
"""


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
