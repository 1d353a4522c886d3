"""The end of a command: an error prints one line, a signal leaves no unfinished file, and logs are silenced."""

import os
import re
import signal
import sys
from collections.abc import Callable
from typing import Any

from keras_segattn.cli.output import messages

EXPECTED = (ValueError, TypeError, ArithmeticError, OSError, RuntimeError)
# Base class of TensorFlow's errors. It is recognised by its name, since importing it takes seconds.
TENSORFLOW_ERROR = "OpError"


def run(app: Callable[[], Any]) -> None:
    """Run the command and end the process.

    The exit code is 0, 1 after an error, 2 after wrong usage, or 128 + the number of a signal. `--debug` shows
    tracebacks and TensorFlow's log.
    """
    debug = "--debug" in sys.argv[1:]
    if debug:
        # Users may also write it after the command, which has no such option: move it to the front.
        sys.argv[1:] = ["--debug", *(argument for argument in sys.argv[1:] if argument != "--debug")]
    else:
        silence_native_logs()
    # SIGTERM, by which containers are stopped, removes unfinished files as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        names = {kind.__name__ for kind in type(error).__mro__}
        account = getattr(error, "report", None)  # a WeightsError lists every tensor here; its message is cut
        if debug and account is not None:
            messages.print(account.table())
        if debug or not (isinstance(error, EXPECTED) or TENSORFLOW_ERROR in names):
            raise
        messages.print(f"error: {plain_message(error)}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


def silence_native_logs() -> None:
    """Discard what native libraries write to standard error; Python's own `sys.stderr` still reaches it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        native = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # `sys.stderr` was replaced by an object without a file, as in tests
        return
    sys.stderr.flush()
    kept = os.dup(native)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a file descriptor is needed, and `os.devnull` is no `Path`
        os.dup2(nowhere.fileno(), native)
    sys.stderr = os.fdopen(kept, "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors)


def plain_message(error: Exception) -> str:
    """Return an error's message without the graph and traceback that TensorFlow adds to exceptions of data readers."""
    message = getattr(error, "message", None) or str(error)
    asserted = re.search(r"assertion failed: (.*)", message)
    raised = re.findall(r"^(?:ValueError|FileNotFoundError|OSError): (.*)", message, re.MULTILINE)
    if asserted:
        return re.sub(r"\] \[", " ", asserted[1]).strip("[] ")
    return raised[-1] if raised else message
