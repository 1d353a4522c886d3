"""RNNsearch (Bahdanau, Cho & Bengio, ICLR 2015, arXiv 1409.0473): translation that learns to align.

A bidirectional gated network annotates the source; at each word a gated decoder attends to the annotations, reads out
the word from its state, the last word and what it saw, by maxout, and moves on with the word. As in the released code
(GroundHog) the state from which a word is read has consumed the words before it, and the same context then goes into
the transition that consumes the word.

Layouts: GroundHog's has biases on the embeddings, none on the gates, and an output matrix in two factors; the paper's
text has one output matrix, and biases on every input map. `attention=None` is the paper's baseline in kind, RNNencdec:
one annotation, the encoder's last states, for the whole sentence.

Luong, Pham & Manning (EMNLP 2015, arXiv 1508.04025) turn the decoder round: it moves on with the word first, attends
with its new state, and writes the word from a layer on both, which is also fed into the next step.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras
from keras import layers, ops

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.decoding import (
    BeamRules,
    Decoder,
    SampleTokens,
    SamplingRules,
    of_words,
    searching,
    sequence_endpoints,
)
from keras_segattn.endpoints import Endpoint
from keras_segattn.fields import BOS, EOS, PAD, Tokens
from keras_segattn.initializers import normal
from keras_segattn.inputs import check_vocabulary, source_input, token_input
from keras_segattn.layers import (
    AddBias,
    AdditiveAttention,
    AttentionCell,
    AttentionGRUCell,
    AttentionRNN,
    Earlier,
    GeneralAttention,
    InputFeedingCell,
    Later,
    LocalAttention,
    LocationAttention,
    Maxout,
    Memory,
    NotEqual,
    ProjectedRNN,
    ResetBeforeGRUCell,
    Reverse,
    UniformAttention,
    ZeroWhereNot,
)
from keras_segattn.layers.attention_score import AttentionScore
from keras_segattn.registry import Card, Paper, register


@dataclass(frozen=True)
class Form:
    """What a layout and an initialisation settle for all layers."""

    embedding_bias: bool
    gate_bias: bool
    factors: bool  # whether the output matrix is a product of two
    words: Any
    kernels: Any
    alignment: Any
    energies: Any


LAYOUTS: dict[str, dict[str, bool]] = {
    "groundhog": {"embedding_bias": True, "gate_bias": False, "factors": True},
    "paper": {"embedding_bias": False, "gate_bias": True, "factors": False},
}
# The paper's deviations are made for a thousand units; a network of a few hundred hardly learns from them.
INITIALIZATIONS: dict[str, dict[str, Any]] = {
    "paper": {
        "words": normal(0.01),
        "kernels": normal(0.01),
        "alignment": normal(0.001),
        "energies": "zeros",
    },
    "scaled": {
        "words": {"class_name": "VarianceScaling", "config": {"scale": 1.0, "mode": "fan_out"}},
        "kernels": "glorot_uniform",
        "alignment": "glorot_uniform",
        "energies": "glorot_uniform",
    },
}
ATTENTIONS = (None, "additive", "general", "location", "local-m", "local-p")
ORDERS = ("bahdanau", "luong")


def endpoints(model: keras.Model, options: Mapping[str, Any]) -> dict[str, Endpoint]:
    """The signatures of a trained `RNNSearch`; see `decoding.sequence_endpoints`."""
    return sequence_endpoints(model, decoder_of(model), encoded(model), options)


@register(
    Card(
        paper=Paper(
            "Neural Machine Translation by Jointly Learning to Align and Translate",
            "Bahdanau, Cho & Bengio",
            "ICLR",
            2015,
            "1409.0473",
        ),
        task="write",
        inputs={"source": Tokens("source", 30001), "target": Tokens("target", 30001, target=True)},
        parameters=84_349_101,
        tiny={
            "source_vocabulary": 11,
            "target_vocabulary": 9,
            "units": 6,
            "embedding": 5,
            "maxout": 4,
            "alignment": 7,
        },
        claims={"mixed_precision"},
        options=asdict(BeamRules()),
        endpoints=endpoints,
    )
)
def RNNSearch(  # noqa: N802 - a builder is named like the model it builds
    source_vocabulary: int = 30001,
    target_vocabulary: int = 30001,
    name: str = "rnnsearch",
    *,
    units: int = 1000,
    embedding: int = 620,
    maxout: int = 500,
    alignment: int = 1000,
    attention: str | None = "additive",
    order: str = "bahdanau",
    layout: str = "groundhog",
    initialization: str = "paper",
    dropout: float = 0.0,
    unroll: bool = False,
) -> keras.Model:
    """RNNsearch (Bahdanau et al. 2015), as it is trained: the target is given, shifted by one word.

    Args:
        source_vocabulary: number of the source's tokens; 0 is padding, 2 ends a sentence.
        target_vocabulary: number of the target's tokens; 0 is padding, 1 begins and 2 ends a sentence.
        name: of the model.
        units: width of each encoder direction and of the decoder (n).
        embedding: width of the word embeddings (m).
        maxout: units of the deep output (l); in Luong's order, which has no maxout, the width of h̃.
        alignment: hidden units of the additive attention (n').
        attention: `"additive"` (the paper); `"general"`, `"local-m"`, `"local-p"` (Luong et al. 2015, the last two in a
            window of 10 to each side, scored as the first); `"location"` (Chorowski et al. 2015); or `None`: the
            encoder's last states instead of attention.
        order: `"bahdanau"`: attend, then move on; or `"luong"`.
        layout: `"groundhog"` (84,349,101 parameters at the default sizes) or `"paper"`.
        initialization: `"paper"`, normal with deviations for its sizes, or `"scaled"`, by the widths of the layers,
            which networks much smaller need.
        dropout: share of the embeddings and of the deep output that is dropped in training; the paper has none.
        unroll: whether loops become graphs without loops, for sentences of known length.

    Returns:
        Model from a dict `source` int32 `(batch, S)`, padded, each sentence with its end, and `target` int32
        `(batch, T)`, beginning of sentence first, to a dict `logits` float32 `(batch, T, target_vocabulary)` of the
        word that follows each, and `attention` float32 `(batch, T, S)` (`(batch, T, 1)` without attention).

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> model = RNNSearch(8000, 8000, units=256, embedding=256, maxout=256, alignment=256)
        >>> outputs = model({"source": source, "target": target})
    """
    sizes = {"units": units, "embedding": embedding, "maxout": maxout, "alignment": alignment}
    for argument, size in sizes.items():
        check_positive_integer(argument, size)
    check_vocabulary("source_vocabulary", source_vocabulary)
    check_vocabulary("target_vocabulary", target_vocabulary)
    check_choice("attention", attention, ATTENTIONS)
    check_choice("order", order, ORDERS)
    check_choice("layout", layout, tuple(LAYOUTS))
    check_choice("initialization", initialization, tuple(INITIALIZATIONS))
    form = Form(**LAYOUTS[layout], **INITIALIZATIONS[initialization])
    source = token_input("source", "RNNSearch", source_vocabulary)
    target = token_input("target", "RNNSearch", target_vocabulary, target=True)

    annotations, mask, summary = encoder(source, source_vocabulary, embedding, units, form, dropout, unroll)
    if attention is None:
        annotations, mask = summary["both"], None
    start = layers.Dense(units, activation="tanh", kernel_initializer=form.kernels, name="initial_state")(
        summary["backward"]
    )

    parts = decoder_layers(target_vocabulary, embedding, maxout, order, form, dropout)
    words = embed(parts, target)
    cell = AttentionGRUCell(
        units,
        score(attention, alignment, form),
        form.gate_bias,
        form.kernels,
        "orthogonal",
        form.kernels,
        name="decoder_cell",
    )
    if order == "luong":
        cell = InputFeedingCell(cell, maxout, form.kernels, name="input_feeding_cell")
    loop = AttentionRNN(cell, unroll=unroll, name="decoder")
    steps = words if order == "luong" else Later(name="following_words")(words)
    found = loop(steps, annotations, annotation_mask=mask, initial_state=[start])
    if order == "luong":
        logits = write(parts, found["outputs"])
    else:
        states = Earlier(name="states_before")(found["outputs"], start)
        previous = ZeroWhereNot(name="previous_words")(words, NotEqual(BOS, name="not_first")(target))
        logits = read_out(parts, states, previous, found["context"])
    outputs = {"logits": logits, "attention": found["weights"]}
    return keras.Model({"source": source_input(source), "target": source_input(target)}, outputs, name=name)


def encoder(
    source: Any, vocabulary: int, embedding: int, units: int, form: Form, dropout: float, unroll: bool
) -> tuple[Any, Any, dict[str, Any]]:
    """Annotations, their mask, and the states that sum the sentence up."""
    mask = NotEqual(PAD, name="source_mask")(source)
    x = layers.Embedding(vocabulary, embedding, embeddings_initializer=form.words, name="source_embedding")(source)
    if form.embedding_bias:
        x = AddBias(name="source_embedding_bias")(x)
    if dropout:
        x = layers.Dropout(dropout, name="source_dropout")(x)
    states, last = {}, {}
    for direction in ("forward", "backward"):
        cell = ResetBeforeGRUCell(units, form.gate_bias, form.kernels, name=f"{direction}_cell")
        loop = ProjectedRNN(
            cell,
            return_sequences=True,
            return_state=True,
            go_backwards=direction == "backward",
            unroll=unroll,
            name=direction,
        )
        states[direction], last[direction] = loop(x, mask=mask)
    backward = Reverse(name="backward_reversed")(states["backward"])
    annotations = layers.Concatenate(name="annotations")([states["forward"], backward])
    both = layers.Concatenate(name="summary")([last["forward"], last["backward"]])
    both = layers.Reshape((1, 2 * units), name="summary_annotation")(both)
    return annotations, mask, {"backward": last["backward"], "both": both}


def score(attention: str | None, alignment: int, form: Form) -> AttentionScore:
    """The attention of that name; with one annotation there is nothing to choose."""
    additive = {"query_initializer": form.alignment, "key_initializer": form.alignment}
    additive |= {"score_initializer": form.energies}
    if attention == "additive":
        return AdditiveAttention(alignment, **additive, name="alignment")
    if attention == "location":
        return LocationAttention(alignment, **additive, name="alignment")
    if attention in ("local-m", "local-p"):
        centre = {"local-m": "monotonic", "local-p": "predictive"}[attention]
        general = GeneralAttention(form.alignment, name="window_alignment")
        return LocalAttention(general, centre, kernel_initializer=form.alignment, name="alignment")
    return (
        GeneralAttention(form.alignment, name="alignment")
        if attention == "general"
        else UniformAttention(name="alignment")
    )


def decoder_layers(
    vocabulary: int, embedding: int, maxout: int, order: str, form: Form, dropout: float
) -> dict[str, layers.Layer]:
    """The layers before and after the decoder's loop, by name."""
    parts = [
        layers.Embedding(vocabulary, embedding, embeddings_initializer=form.words, name="target_embedding"),
        layers.Dense(vocabulary, kernel_initializer=form.kernels, name="logits"),
    ]
    if order == "bahdanau":
        parts += [
            layers.Dense(2 * maxout, kernel_initializer=form.kernels, name="readout_state"),
            layers.Dense(2 * maxout, use_bias=False, kernel_initializer=form.kernels, name="readout_word"),
            layers.Dense(2 * maxout, use_bias=False, kernel_initializer=form.kernels, name="readout_context"),
            layers.Add(name="readout"),
            Maxout(2, name="maxout"),
        ]
    if form.embedding_bias:
        parts.append(AddBias(name="target_embedding_bias"))
    if form.factors:
        parts.append(layers.Dense(embedding, use_bias=False, kernel_initializer=form.kernels, name="readout_low_rank"))
    if dropout:
        parts += [layers.Dropout(dropout, name="target_dropout"), layers.Dropout(dropout, name="readout_dropout")]
    return {layer.name: layer for layer in parts}


def embed(parts: dict[str, layers.Layer], tokens: Any) -> Any:
    """Word vectors."""
    x = parts["target_embedding"](tokens)
    for name in ("target_embedding_bias", "target_dropout"):
        x = parts[name](x) if name in parts else x
    return x


def read_out(parts: dict[str, layers.Layer], states: Any, words: Any, context: Any) -> Any:
    """Logits from the state, the word before and the context (the paper's appendix A.2.2)."""
    x = parts["readout"](
        [parts["readout_state"](states), parts["readout_word"](words), parts["readout_context"](context)]
    )
    return write(parts, parts["maxout"](x))


def write(parts: dict[str, layers.Layer], x: Any) -> Any:
    """Logits from the deep output, or from h̃."""
    for name in ("readout_dropout", "readout_low_rank"):
        x = parts[name](x) if name in parts else x
    return parts["logits"](x)


def begin(cell: AttentionCell, encoded: dict[str, Any], hypotheses: int) -> tuple[list[Any], Memory]:
    """The cell's states before the first word, and the annotations with their keys."""
    memory = cell.attention.remember(encoded["annotations"], encoded.get("mask")).repeated(hypotheses)
    return cell.start([ops.repeat(encoded["state"], hypotheses, axis=0)], memory), memory


@keras.saving.register_keras_serializable(package="keras_segattn")
class RNNSearchDecoder(Decoder):
    """The decoder of a trained `RNNSearch`, for the searches of `keras_segattn.decoding`.

    Reads `annotations` `(batch, L, D)`, if there is one `mask` bool `(batch, L)`, and `state` `(batch, units)`.

    Args:
        cell: the decoder's.
        parts: the layers around it.
        bos: id after which the state does not move and no word is read.

    Example:
        >>> search = BeamSearch(RNNSearchDecoder(cell, parts, bos=1), bos=1, eos=2)
    """

    def __init__(self, cell: AttentionGRUCell, parts: list[layers.Layer], bos: int = BOS, **kwargs: Any) -> None:
        super().__init__(cell, parts, **kwargs)
        self.bos = bos

    def build_layers(self, encoded_shape: dict[str, Any]) -> None:
        """Weights of the cell and of the layers around it."""
        width, context = self.parts["target_embedding"].output_dim, encoded_shape["annotations"]
        self.build_cell(width, context)
        words = embed(self.parts, keras.KerasTensor((None,), dtype="int32"))
        states = keras.KerasTensor((None, self.cell.units))
        read_out(self.parts, states, words, keras.KerasTensor((None, context[-1])))

    def start(self, encoded: dict[str, Any], hypotheses: int) -> tuple[list[Any], Any]:
        """The state before the first word, what was seen last (nothing), and the annotations with their keys."""
        states, memory = begin(self.cell, encoded, hypotheses)
        return [*states, ops.zeros_like(memory.annotations[:, 0])], memory

    def step(self, tokens: Any, states: list[Any], memory: Any) -> tuple[Any, Any, list[Any]]:
        """Move on with the word and what was seen for it; then attend, and read out."""
        *states, context = states
        words = embed(self.parts, tokens)
        moved = self.cell.advance(self.cell.project(words), context, states[:1])
        later = ops.not_equal(tokens, self.bos)[:, None]
        states = [ops.where(later, moved[0], states[0]), *states[1:]]
        seen = self.cell.look(states, memory)
        words = words * ops.cast(later, words.dtype)
        states = [states[0], *self.cell.carried(seen, self.cell.previous(states))]
        return read_out(self.parts, states[0], words, seen.context), seen.weights, [*states, seen.context]

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"bos": self.bos}


@keras.saving.register_keras_serializable(package="keras_segattn")
class LuongDecoder(Decoder):
    """The decoder of a trained `RNNSearch(order="luong")`, for the searches of `keras_segattn.decoding`.

    Reads what `RNNSearchDecoder` reads.

    Args:
        cell: the decoder's.
        parts: the layers around it.

    Example:
        >>> search = BeamSearch(LuongDecoder(cell, parts), bos=1, eos=2)
    """

    def build_layers(self, encoded_shape: dict[str, Any]) -> None:
        """Weights of the cell and of the layers around it."""
        self.build_cell(self.parts["target_embedding"].output_dim, encoded_shape["annotations"])
        embed(self.parts, keras.KerasTensor((None,), dtype="int32"))
        write(self.parts, keras.KerasTensor((None, self.cell.units)))

    def start(self, encoded: dict[str, Any], hypotheses: int) -> tuple[list[Any], Any]:
        """The state before the first word with nothing fed in, and the annotations with their keys."""
        return begin(self.cell, encoded, hypotheses)

    def step(self, tokens: Any, states: list[Any], memory: Any) -> tuple[Any, Any, list[Any]]:
        """Move on with the word, attend, and write."""
        projected = self.cell.project(embed(self.parts, tokens))
        seen, states = self.cell.attend_and_advance(projected, states, memory)
        return write(self.parts, states[0]), seen.weights, states


PARTS = (
    "target_embedding",
    "target_embedding_bias",
    "target_dropout",
    "readout_state",
    "readout_word",
    "readout_context",
    "readout",
    "maxout",
    "readout_dropout",
    "readout_low_rank",
    "logits",
)


def encoded(model: keras.Model) -> dict[str, Any]:
    """What the decoder of a trained model reads, as tensors of its graph."""
    tensors = {"state": model.get_layer("initial_state").output}
    if isinstance(model.get_layer("decoder").cell.attention, UniformAttention):
        return tensors | {"annotations": model.get_layer("summary_annotation").output}
    names = {"annotations": "annotations", "mask": "source_mask"}
    return tensors | {key: model.get_layer(name).output for key, name in names.items()}


def decoder_of(model: keras.Model) -> RNNSearchDecoder | LuongDecoder:
    """The decoder of a trained model, on its layers."""
    names = {layer.name for layer in model.layers}
    if "decoder" not in names or "target_embedding" not in names:
        raise ValueError(f"expected a model that RNNSearch built, received {model.name} without its decoder")
    parts = [model.get_layer(name) for name in PARTS if name in names]
    kind = LuongDecoder if "readout_state" not in names else RNNSearchDecoder
    return kind(model.get_layer("decoder").cell, parts, name="decoder_step")


def translator(model: keras.Model, rules: BeamRules | None = None) -> keras.Model:
    """A trained `RNNSearch` with beam search: from source to translations.

    Args:
        model: that `RNNSearch` built; its weights are shared.
        rules: of the search.

    Returns:
        Model from `source` int32 `(batch, S)` to a dict as `BeamSearch` gives it.

    Raises:
        ValueError: if the model is another.

    Example:
        >>> translations = translator(model, BeamRules(beams=12, length=50))(source)["tokens"][:, 0]
    """
    return searching(model, decoder_of(model), encoded(model), rules, name=f"{model.name}_translator")


def sampler(model: keras.Model, rules: SamplingRules | None = None) -> keras.Model:
    """A trained `RNNSearch` that draws translations.

    Args:
        model: that `RNNSearch` built; its weights are shared.
        rules: of the draw.

    Returns:
        Model from `source` int32 `(batch, S)` and `noise` float32 `(batch, T)` in [0, 1) to a dict as `SampleTokens`
        gives it.

    Raises:
        ValueError: if the model is another.

    Example:
        >>> drawn = sampler(model, SamplingRules(length=50))({"source": source, "noise": noise})
    """
    rules = of_words(rules or SamplingRules())
    noise = keras.Input((rules.length,), name="noise")
    search = SampleTokens(decoder_of(model), BOS, EOS, rules, name="search")
    inputs = {"source": model.input["source"], "noise": noise}
    return keras.Model(inputs, search(encoded(model), noise), name=f"{model.name}_sampler")
