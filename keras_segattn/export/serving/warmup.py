"""The warm-up file of a SavedModel: requests that a server replays before it calls a version available.

With a warm-up file, the old version stays in service until the variables of the new one are copied, and a request in
the file that fails stops the new version from loading. So it is always written, and always replayed by verification.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_segattn.export.report import ExportError

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"


def write_warmup(directory: Path, name: str, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Write requests as a TFRecord file of PredictionLogs.

    Args:
        directory: version directory of the SavedModel.
        name: name of the model for clients.
        requests: pairs of a signature and its inputs, name → TensorProto.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    file = directory / WARMUP_FILE
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature, inputs in requests:
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = name
            request.model_spec.signature_name = signature
            for key, proto in inputs.items():
                request.inputs[key].CopyFrom(proto)
            writer.write(log.SerializeToString())


def read_warmup(directory: Path) -> list[tuple[str, dict[str, bytes]]]:
    """Read the requests in a SavedModel's warm-up file.

    Returns:
        Pairs of a signature and its inputs, name → bytes of a TensorProto; empty if there is no such file.

    Raises:
        ExportError: if the file is damaged or holds anything but Predict requests.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    file = directory / WARMUP_FILE
    if not file.is_file():
        return []
    requests = []
    try:
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if not log.HasField("predict_log"):
                raise ExportError(f"{file} holds a {log.WhichOneof('log_type')}, expected predict_log only")
            request = log.predict_log.request
            inputs = {key: proto.SerializeToString() for key, proto in request.inputs.items()}
            requests.append((request.model_spec.signature_name or "serving_default", inputs))
    except (tf.errors.OpError, DecodeError) as error:
        raise ExportError(f"{file} is damaged: {error}") from error
    return requests
