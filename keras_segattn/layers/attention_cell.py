"""The base class of recurrent cells that attend to annotations at every step."""

from typing import Any

import keras

from keras_segattn.arguments import check_dropout
from keras_segattn.layers.attention_score import AttentionScore, Memory, Seen
from keras_segattn.layers.projected_rnn import ProjectedCell


class AttentionCell(ProjectedCell):
    """Base of the cells for `AttentionRNN`: attend with the previous state, then update the state with the context.

    A subclass sets `units`, `state_sizes` and `projection` (the width of projected inputs), and defines `project` and
    `advance`. A list of states holds the cell's own states first, and then, if the attention needs one, the tensor that
    it carries from step to step.

    Args:
        attention: attention layer that computes the context.
        dropout: share of the inputs that is dropped in training, the same ones at all steps, as in Keras' cells.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    attention: AttentionScore
    units: int
    state_sizes: list[int]
    projection: int

    def __init__(self, attention: AttentionScore, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_dropout(dropout)
        if not isinstance(attention, AttentionScore):
            raise TypeError(f"attention must be one of keras_segattn.layers' attentions, received {attention!r}")
        self.attention, self.dropout = attention, dropout
        self.input_dropout = keras.layers.SpatialDropout1D(dropout, name="input_dropout") if dropout else None

    @property
    def state_size(self) -> list[int]:
        """Sizes of the cell's own states. The attention's state is not included; the loop running the cell keeps it."""
        return self.state_sizes

    @property
    def output_size(self) -> int:
        """Width of the state only. The output has context and weights too, whose sizes `AttentionRNN` computes."""
        return self.units

    def build(self, inputs_shape: tuple[int | None, ...], annotations_shape: tuple[int | None, ...]) -> None:
        """Make the attention's weights; subclasses add theirs."""
        if not self.attention.built:
            self.attention.build((inputs_shape[0], self.units), annotations_shape)
            self.attention.built = True

    def drop(self, sequences: Any, training: bool | None = None) -> Any:
        """Apply the dropout to the inputs of all steps `(batch, T, size)`; `None` takes `training` from outside."""
        return sequences if self.input_dropout is None else self.input_dropout(sequences, training=training)

    def gated(self, context: Any, states: list[Any]) -> Any:
        """Return the context in the form that the cell and the output receive; here unchanged."""
        return context

    def advance(self, projected: Any, context: Any, states: list[Any]) -> list[Any]:
        """Compute the cell's new states."""
        raise NotImplementedError

    def look(self, states: list[Any], memory: Memory, noise: Any = None) -> Seen:
        """Attend with the state before the step, and return what is seen."""
        seen = self.attention.attend(states[0], memory, self.previous(states), noise)
        return seen._replace(context=self.gated(seen.context, states))

    def own(self, states: list[Any]) -> list[Any]:
        """Return the cell's own part of the states."""
        return states[: len(self.state_sizes)]

    def previous(self, states: list[Any]) -> Any:
        """Return the attention's part of the states, or `None` if it has none."""
        return states[-1] if len(states) > len(self.state_sizes) else None

    def carried(self, seen: Seen, previous: Any) -> list[Any]:
        """Return the attention's part of the new states: a list of one tensor, or of none."""
        return [self.attention.carried(seen, previous)] if self.attention.needs_previous else []

    def attend_and_advance(
        self, projected: Any, states: list[Any], memory: Memory, noise: Any = None
    ) -> tuple[Seen, list[Any]]:
        """Attend, update the cell, and return what was seen and the new states."""
        seen = self.look(states, memory, noise)
        new = self.advance(projected, seen.context, self.own(states))
        return seen, [*new, *self.carried(seen, self.previous(states))]

    def start(self, states: list[Any], memory: Memory) -> list[Any]:
        """Return the states before the first step: the given ones, and the attention's first one if it needs one.

        Raises:
            ValueError: if the states are not those of the cell.
        """
        sizes = [state.shape[-1] for state in states]
        if sizes != self.state_sizes:
            raise ValueError(f"{self.name} expects states of the sizes {self.state_sizes}, received {sizes}")
        return [*states, self.attention.first(memory)] if self.attention.needs_previous else states

    def step(self, projected: Any, states: Any, training: bool) -> tuple[Any, list[Any]]:
        """Raise an error: a loop without annotations cannot run the cell."""
        raise ValueError(f"{self.name} has no annotations to attend to: run it by keras_segattn.layers.AttentionRNN")

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        attention = keras.saving.serialize_keras_object(self.attention)
        return super().get_config() | {"attention": attention, "dropout": self.dropout}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AttentionCell":
        """Rebuild the cell with its attention."""
        return cls(**config | {"attention": keras.saving.deserialize_keras_object(config["attention"])})
