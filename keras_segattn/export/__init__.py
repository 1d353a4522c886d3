"""Export of models for servers and phones, and verification of the written files in runtimes that did not write them.

`saved_model` writes a version directory for TensorFlow Serving, `tflite` a file for phones and browsers. `verify`
measures such a file, whoever wrote it. Each returns an `ExportReport`.
"""

from pathlib import Path

from keras_segattn.export.mobile.tflite import tflite
from keras_segattn.export.mobile.verification import verify_tflite
from keras_segattn.export.report import ExportError, ExportReport
from keras_segattn.export.serving.saved_model import saved_model
from keras_segattn.export.serving.verification import verify_saved_model

__all__ = [
    "ExportError",
    "ExportReport",
    "saved_model",
    "tflite",
    "verify",
    "verify_saved_model",
    "verify_tflite",
]


def verify(path: str | Path) -> ExportReport:
    """Measure an exported model: a folder must be a SavedModel, a file a `.tflite`.

    Returns:
        The report; its `passed` says whether all checks hold.

    Raises:
        ExportError: if there is no such file, it is neither of the two, or it is damaged.

    Example:
        >>> verify("fcn8s.tflite").raise_if_failed()
    """
    path = Path(path)
    if not path.exists():
        raise ExportError(f"{path} does not exist; expected a .tflite file or a SavedModel's folder")
    if path.is_dir():
        return verify_saved_model(path)
    if path.suffix != ".tflite":
        raise ExportError(f"expected a .tflite file or a SavedModel's folder, received {path}")
    return verify_tflite(path)
