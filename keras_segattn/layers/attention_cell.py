"""What cells that look at annotations at every step have in common."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_segattn.layers.attention_score import AttentionScore, Memory, Seen
from keras_segattn.layers.projected_rnn import ProjectedCell


class AttentionCell(ProjectedCell):
    """Base of the cells for `AttentionRNN`: attend with the state that was, then move on with what was seen.

    A subclass has `attention`, `units`, `state_sizes`, `projection` (the width of projected inputs), `project` and
    `advance`; states are its own, and after them what the attention carries from step to step, if anything.
    """

    attention: AttentionScore
    units: int
    state_sizes: list[int]
    projection: int

    def __init__(self, attention: AttentionScore, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(attention, AttentionScore):
            raise TypeError(f"attention must be one of keras_segattn.layers' attentions, received {attention!r}")
        self.attention = attention
        self._memory: list[Memory] = []

    @property
    def state_size(self) -> list[int]:
        """Widths of the states (that of the attention's is a loop's own affair)."""
        return self.state_sizes

    @property
    def output_size(self) -> int:
        """Unknown: the weights are as many as the annotations; `AttentionRNN` computes it."""
        return self.units

    def build(self, inputs_shape: tuple[int | None, ...], annotations_shape: tuple[int | None, ...]) -> None:
        """Make the attention's weights; subclasses add theirs."""
        if not self.attention.built:
            self.attention.build((inputs_shape[0], self.units), annotations_shape)
            self.attention.built = True

    def gated(self, context: Any, states: list[Any]) -> Any:
        """The context as the cell and the output see it."""
        return context

    def advance(self, projected: Any, context: Any, states: list[Any]) -> list[Any]:
        """New states."""
        raise NotImplementedError

    def look(self, states: list[Any], memory: Memory, noise: Any = None) -> Seen:
        """What the state before the step gets to see."""
        seen = self.attention.attend(states[0], memory, self.previous(states), noise)
        return seen._replace(context=self.gated(seen.context, states))

    def own(self, states: list[Any]) -> list[Any]:
        """The cell's part of the states."""
        return states[: len(self.state_sizes)]

    def previous(self, states: list[Any]) -> Any:
        """The attention's part of the states, if it has one."""
        return states[-1] if len(states) > len(self.state_sizes) else None

    def carried(self, seen: Seen, previous: Any) -> list[Any]:
        """The attention's part of the new states."""
        return [self.attention.carried(seen, previous)] if self.attention.needs_previous else []

    def attend_and_advance(
        self, projected: Any, states: list[Any], memory: Memory, noise: Any = None
    ) -> tuple[Seen, list[Any]]:
        """What is seen, and new states."""
        seen = self.look(states, memory, noise)
        new = self.advance(projected, seen.context, self.own(states))
        return seen, [*new, *self.carried(seen, self.previous(states))]

    def start(self, states: list[Any], memory: Memory) -> list[Any]:
        """States before the first step: the given ones, and zeros for the attention."""
        if not self.attention.needs_previous:
            return states
        return [*states, ops.zeros_like(memory.annotations[..., 0])]

    @contextlib.contextmanager
    def reading(self, memory: Memory) -> Iterator[None]:
        """While a loop is traced, this is what the cell attends to."""
        self._memory.append(memory)
        try:
            yield
        finally:
            self._memory.pop()

    def step(self, projected: Any, states: Any, training: bool) -> tuple[Any, list[Any]]:
        """State, context and weights in one vector, as Keras's loop wants it; and the new states."""
        if not self._memory:
            raise ValueError(
                f"{self.name} has no annotations to attend to: run it by keras_segattn.layers.AttentionRNN"
            )
        memory, width = self._memory[-1], self.projection
        noise = None if memory.drawn is None else projected[:, width:]
        seen, states = self.attend_and_advance(projected[:, :width], list(states), memory, noise)
        choice = [] if noise is None else [seen.choice]
        return ops.concatenate([states[0], seen.context, seen.weights, *choice], axis=-1), states

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"attention": keras.saving.serialize_keras_object(self.attention)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AttentionCell":
        """The cell with its attention."""
        return cls(**config | {"attention": keras.saving.deserialize_keras_object(config["attention"])})
