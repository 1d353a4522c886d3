"""Report on the tensors of a weight file and the variables of a model: which matched, and which did not."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

# Number of names per outcome in the text of a report; its table has all of them.
SHOWN = 5


class WeightsError(ValueError):
    """A weight file cannot be read, or does not fit the model; the model is unchanged.

    Args:
        message: text that says what was expected and what was found.
        report: report on every variable and tensor, if the file could be read but does not fit; else `None`.
    """

    def __init__(self, message: str, report: "LoadReport | None" = None) -> None:
        super().__init__(message)
        self.report = report


class Match(NamedTuple):
    """A variable and the tensor of the file that fills it."""

    layer: str
    variable: str
    source: str


class ShapeMismatch(NamedTuple):
    """A variable and the tensor of its name in the file, whose shape no conversion turns into the variable's."""

    layer: str
    variable: str
    source: str
    expected: tuple[int, ...]
    found: tuple[int, ...]


@dataclass(frozen=True)
class LoadReport:
    """The mapping of a weight file to a model.

    Args:
        path: path of the file.
        format: format of the file, in words.
        matched: variables of the model with their tensor in the file.
        missing: `"layer.variable"` of the model without a tensor in the file.
        unexpected: names of tensors in the file without a place in the model.
        shape_mismatch: variables and tensors of the same name whose shapes do not fit; if the load left them out, the
            variables have their initial values.
        ignored: entries of the file that are no weights: batch counters, random seeds, optimiser state.
    """

    path: Path
    format: str
    matched: tuple[Match, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    shape_mismatch: tuple[ShapeMismatch, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether file and model correspond one to one."""
        return bool(self.matched) and not (self.missing or self.unexpected or self.shape_mismatch)

    def rows(self) -> list[tuple[str, str, str]]:
        """Return the report as rows (outcome, variable of the model, tensor of the file)."""
        return [
            *(("matched", f"{m.layer}.{m.variable}", m.source) for m in self.matched),
            *(
                ("shape mismatch", f"{m.layer}.{m.variable} {m.expected}", f"{m.source} {m.found}")
                for m in self.shape_mismatch
            ),
            *(("missing", name, "") for name in self.missing),
            *(("unexpected", "", name) for name in self.unexpected),
            *(("ignored", "", name) for name in self.ignored),
        ]

    def table(self) -> Table:
        """Return the report as a table for a terminal."""
        table = Table("outcome", "variable of the model", "tensor of the file", title=self.summary())
        for row in self.rows():
            table.add_row(*row)
        return table

    def summary(self) -> str:
        """Return one line with the number of each outcome."""
        outcomes = ("matched", "missing", "unexpected", "shape_mismatch", "ignored")
        counts = ", ".join(f"{len(getattr(self, name))} {name.replace('_', ' ')}" for name in outcomes)
        return f"{self.path} ({self.format}): {counts}"

    def __str__(self) -> str:
        """The summary and the first names of each outcome but the matches; `table` shows all of them."""
        lines = [self.summary()]
        problems = (row for row in self.rows() if row[0] != "matched")
        for outcome, group in groupby(problems, key=lambda row: row[0]):
            rows = list(group)
            lines += [f"  {outcome}: {' <- '.join(filter(None, names))}" for _, *names in rows[:SHOWN]]
            if len(rows) > SHOWN:
                lines.append(f"  … and {len(rows) - SHOWN} more {outcome}")
        return "\n".join(lines)
