"""RNNsearch (Bahdanau, Cho & Bengio, ICLR 2015, arXiv 1409.0473): translation that learns to align.

A bidirectional gated network annotates the source. For each word a gated decoder attends to the annotations, predicts
the word from its state, the previous word and the context (with maxout), and updates its state with the word. As in the
released code (GroundHog) the state that predicts a word has consumed the words before it, and the same context then
enters the update that consumes the word.

There are two layouts. `"groundhog"`, the released code's, has biases on the embeddings, none on the gates, and an
output matrix in two factors. `"paper"`, from the paper's text, has one output matrix, and biases on every input map.
`attention=None` builds a baseline like the paper's RNNencdec: one annotation, made of the encoder's last states, stands
for the whole sentence.

The decoder of Luong, Pham & Manning (EMNLP 2015, arXiv 1508.04025) has the opposite order: it first updates its state
with the word, then attends with the new state, and predicts the next word from a layer on state and context (h̃), which
is also fed into the next step.
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
    MaskedSteps,
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
    """Settings of all layers that follow from a layout and an initialisation."""

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
# The paper's standard deviations suit a thousand units; a network of a few hundred hardly learns from them.
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
    """Return the signatures of a trained `RNNSearch`; see `decoding.sequence_endpoints`."""
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
    """Build RNNsearch (Bahdanau et al. 2015) for training: one input is the target, shifted by one word.

    Args:
        source_vocabulary: number of the source's tokens; 0 is padding, 2 ends a sentence.
        target_vocabulary: number of the target's tokens; 0 is padding, 1 begins and 2 ends a sentence.
        name: name of the model.
        units: width of each encoder direction and of the decoder (n).
        embedding: width of the word embeddings (m).
        maxout: units of the deep output (l); in Luong's order, which has no maxout, the width of h̃.
        alignment: hidden units of the additive attention (n').
        attention: `"additive"` (the paper); `"general"`, `"local-m"` or `"local-p"` (Luong et al. 2015; both local ones
            use general scores in a window of 10 to each side); `"location"` (Chorowski et al. 2015); or `None` for the
            encoder's last states instead of attention.
        order: `"bahdanau"` (attend, then update the state) or `"luong"` (update the state, then attend).
        layout: `"groundhog"` (84,349,101 parameters at the default sizes) or `"paper"`.
        initialization: `"paper"` for normal distributions whose deviations suit the paper's sizes, or `"scaled"` for
            deviations that follow from the widths of the layers, which much smaller networks need.
        dropout: share of the embeddings and of the deep output that is dropped in training; 0 in the paper.
        unroll: whether loops become graphs without loops, for sentences of known length.

    Returns:
        Model from a dict `source` int32 `(batch, S)`, padded, each sentence with its end, and `target` int32
        `(batch, T)`, beginning of sentence first, to a dict `logits` float32 `(batch, T, target_vocabulary)` of the
        word that follows each, with Keras' mask of the target, and `attention` float32 `(batch, T, S)` (`(batch, T, 1)`
        without attention).

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
    logits = MaskedSteps(name="logits_of_words")([logits, NotEqual(PAD, name="target_mask")(target)])
    outputs = {"logits": logits, "attention": found["weights"]}
    return keras.Model({"source": source_input(source), "target": source_input(target)}, outputs, name=name)


def encoder(
    source: Any, vocabulary: int, embedding: int, units: int, form: Form, dropout: float, unroll: bool
) -> tuple[Any, Any, dict[str, Any]]:
    """Return annotations, their mask, and the last states, which summarise the sentence."""
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
    """Make the attention of that name; for `None` it is uniform, as there is only one annotation."""
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
    """Make the layers before and after the decoder's loop, by name."""
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
    """Return the word vectors `(…, embedding)` of tokens."""
    x = parts["target_embedding"](tokens)
    for name in ("target_embedding_bias", "target_dropout"):
        x = parts[name](x) if name in parts else x
    return x


def read_out(parts: dict[str, layers.Layer], states: Any, words: Any, context: Any) -> Any:
    """Compute logits from the state, the previous word and the context (the paper's appendix A.2.2)."""
    x = parts["readout"](
        [parts["readout_state"](states), parts["readout_word"](words), parts["readout_context"](context)]
    )
    return write(parts, parts["maxout"](x))


def write(parts: dict[str, layers.Layer], x: Any) -> Any:
    """Compute logits from the deep output or, in Luong's order, from h̃."""
    for name in ("readout_dropout", "readout_low_rank"):
        x = parts[name](x) if name in parts else x
    return parts["logits"](x)


def begin(cell: AttentionCell, encoded: dict[str, Any], hypotheses: int) -> tuple[list[Any], Memory]:
    """Return the cell's states before the first word, and the annotations with their keys."""
    memory = cell.attention.remember(encoded["annotations"], encoded.get("mask")).repeated(hypotheses)
    return cell.start([ops.repeat(encoded["state"], hypotheses, axis=0)], memory), memory


@keras.saving.register_keras_serializable(package="keras_segattn")
class RNNSearchDecoder(Decoder):
    """The decoder of a trained `RNNSearch`, for the searches of `keras_segattn.decoding`.

    It reads `annotations` `(batch, L, D)`, `state` `(batch, units)` and, unless all locations count, `mask` bool
    `(batch, L)`.

    Args:
        cell: cell of the decoder's loop.
        parts: layers around that loop.
        bos: id that begins a sentence. It is no word: after it the state stays, and no previous word is read.

    Example:
        >>> search = BeamSearch(RNNSearchDecoder(cell, parts, bos=1), bos=1, eos=2)
    """

    def __init__(self, cell: AttentionGRUCell, parts: list[layers.Layer], bos: int = BOS, **kwargs: Any) -> None:
        super().__init__(cell, parts, **kwargs)
        self.bos = bos

    def build_layers(self, encoded_shape: dict[str, Any]) -> None:
        """Make the weights of the cell and of the layers around it."""
        width, context = self.parts["target_embedding"].output_dim, encoded_shape["annotations"]
        self.build_cell(width, context)
        words = embed(self.parts, keras.KerasTensor((None,), dtype="int32"))
        states = keras.KerasTensor((None, self.cell.units))
        read_out(self.parts, states, words, keras.KerasTensor((None, context[-1])))

    def start(self, encoded: dict[str, Any], hypotheses: int) -> tuple[list[Any], Any]:
        """Return the state and context (zeros) before the first word, and the annotations with their keys."""
        states, memory = begin(self.cell, encoded, hypotheses)
        return [*states, ops.zeros_like(memory.annotations[:, 0])], memory

    def step(self, tokens: Any, states: list[Any], memory: Any) -> tuple[Any, Any, list[Any]]:
        """Update the state with the token and the context it was predicted from, attend, and predict the next token."""
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
        """Return the arguments that rebuild the layer."""
        return super().get_config() | {"bos": self.bos}


@keras.saving.register_keras_serializable(package="keras_segattn")
class LuongDecoder(Decoder):
    """The decoder of a trained `RNNSearch(order="luong")`, for the searches of `keras_segattn.decoding`.

    It reads the same tensors as `RNNSearchDecoder`.

    Args:
        cell: cell of the decoder's loop.
        parts: layers around that loop.

    Example:
        >>> search = BeamSearch(LuongDecoder(cell, parts), bos=1, eos=2)
    """

    def build_layers(self, encoded_shape: dict[str, Any]) -> None:
        """Make the weights of the cell and of the layers around it."""
        self.build_cell(self.parts["target_embedding"].output_dim, encoded_shape["annotations"])
        embed(self.parts, keras.KerasTensor((None,), dtype="int32"))
        write(self.parts, keras.KerasTensor((None, self.cell.units)))

    def start(self, encoded: dict[str, Any], hypotheses: int) -> tuple[list[Any], Any]:
        """Return the state before the first word, nothing fed in yet, and the annotations with their keys."""
        return begin(self.cell, encoded, hypotheses)

    def step(self, tokens: Any, states: list[Any], memory: Any) -> tuple[Any, Any, list[Any]]:
        """Update the state with the token, attend, and predict the next token."""
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
    """Return the tensors of a trained model's graph that its decoder reads."""
    tensors = {"state": model.get_layer("initial_state").output}
    if isinstance(model.get_layer("decoder").cell.attention, UniformAttention):
        return tensors | {"annotations": model.get_layer("summary_annotation").output}
    names = {"annotations": "annotations", "mask": "source_mask"}
    return tensors | {key: model.get_layer(name).output for key, name in names.items()}


def decoder_of(model: keras.Model) -> RNNSearchDecoder | LuongDecoder:
    """Make the decoder of a trained model, on the same layers."""
    names = {layer.name for layer in model.layers}
    if "decoder" not in names or "target_embedding" not in names:
        raise ValueError(f"expected a model that RNNSearch built, received {model.name} without its decoder")
    parts = [model.get_layer(name) for name in PARTS if name in names]
    kind = LuongDecoder if "readout_state" not in names else RNNSearchDecoder
    return kind(model.get_layer("decoder").cell, parts, name="decoder_step")


def translator(model: keras.Model, rules: BeamRules | None = None) -> keras.Model:
    """Make a model that translates by beam search, on the layers of a trained `RNNSearch`.

    Args:
        model: model that `RNNSearch` built; its weights are shared.
        rules: rules of the search.

    Returns:
        Model from `source` int32 `(batch, S)` to the dict that `BeamSearch` returns.

    Raises:
        ValueError: if `RNNSearch` did not build the model.

    Example:
        >>> translations = translator(model, BeamRules(beams=12, length=50))(source)["tokens"][:, 0]
    """
    return searching(model, decoder_of(model), encoded(model), rules, name=f"{model.name}_translator")


def sampler(model: keras.Model, rules: SamplingRules | None = None) -> keras.Model:
    """Make a model that draws translations at random, on the layers of a trained `RNNSearch`.

    Args:
        model: model that `RNNSearch` built; its weights are shared.
        rules: rules of the draw.

    Returns:
        Model from `source` int32 `(batch, S)` and `noise` float32 `(batch, T)` in [0, 1) to the dict that
        `SampleTokens` returns.

    Raises:
        ValueError: if `RNNSearch` did not build the model.

    Example:
        >>> drawn = sampler(model, SamplingRules(length=50))({"source": source, "noise": noise})
    """
    rules = of_words(rules or SamplingRules())
    noise = keras.Input((rules.length,), name="noise")
    search = SampleTokens(decoder_of(model), BOS, EOS, rules, name="search")
    inputs = {"source": model.input["source"], "noise": noise}
    return keras.Model(inputs, search(encoded(model), noise), name=f"{model.name}_sampler")
