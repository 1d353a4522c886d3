"""How the command ends: an expected error is a line, a signal leaves nothing half-written, logs stay out of the way."""

import os
import re
import signal
import sys
from collections.abc import Callable
from typing import Any

from keras_segattn.cli.output import messages

EXPECTED = (ValueError, TypeError, ArithmeticError, OSError, RuntimeError)
# TensorFlow's errors, by name: importing them takes seconds.
TENSORFLOW_ERROR = "OpError"


def run(app: Callable[[], Any]) -> None:
    """Run the command and end the process: exit code 0, 1 after an error, 2 after wrong usage, 128 + a signal's number.

    `--debug` shows tracebacks, and what TensorFlow logs.
    """
    debug = "--debug" in sys.argv[1:]
    if debug:
        # It may stand behind the command, too, which does not know it.
        sys.argv[1:] = ["--debug", *(argument for argument in sys.argv[1:] if argument != "--debug")]
    else:
        silence_native_logs()
    # As after Ctrl-C, unfinished files are removed when a container is stopped.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        names = {kind.__name__ for kind in type(error).__mro__}
        account = getattr(error, "report", None)  # of every tensor, which the message of a WeightsError cuts
        if debug and account is not None:
            messages.print(account.table())
        if debug or not (isinstance(error, EXPECTED) or TENSORFLOW_ERROR in names):
            raise
        messages.print(f"error: {plain_message(error)}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


def silence_native_logs() -> None:
    """Keep what libraries log below Python off standard error, to which Python itself goes on writing."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        native = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # replaced by something without a file, as in tests
        return
    sys.stderr.flush()
    kept = os.dup(native)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a descriptor is wanted, of no path
        os.dup2(nowhere.fileno(), native)
    sys.stderr = os.fdopen(kept, "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors)


def plain_message(error: Exception) -> str:
    """What an error says, without the graph and the traceback that TensorFlow wraps around a reader's exception."""
    message = getattr(error, "message", None) or str(error)
    asserted = re.search(r"assertion failed: (.*)", message)
    raised = re.findall(r"^(?:ValueError|FileNotFoundError|OSError): (.*)", message, re.MULTILINE)
    if asserted:
        return re.sub(r"\] \[", " ", asserted[1]).strip("[] ")
    return raised[-1] if raised else message
