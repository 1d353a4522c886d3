"""Tasks, one module each: how examples are read, and how outputs are interpreted, printed, drawn and compared.

Importing this loads no network library, so that the command line can name tasks and options quickly.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from keras_segattn.arguments import unknown
from keras_segattn.tasks.options import OPTIONS

if TYPE_CHECKING:
    from keras_segattn.tasks.task import Task

# Every task is the name of a module in this folder.
TASKS = tuple(OPTIONS)


def task_of(name: str | None) -> "Task":
    """Return the task with a name such as `"classify"`.

    Raises:
        ValueError: if there is no such task.

    Example:
        >>> task_of("segment").interpret(outputs, facts, example, options).mask
    """
    if name not in TASKS:
        raise ValueError(unknown("task", name, TASKS))
    task: Task = import_module(f"keras_segattn.tasks.{name}").TASK
    return task
