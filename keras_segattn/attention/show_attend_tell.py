"""Show, Attend and Tell (Xu et al., ICML 2015, arXiv 1502.03044): captions that look at the picture word by word.

The feature map of a backbone is a grid of annotations. Before each word an LSTM attends to them, gates the context, and
predicts the word from its state, the previous word and the gated context. As in the released code (capgen.py) the gate
is one number, keys pass a second layer, the output has a hyperbolic tangent, and before the first word the embedding is
zero.

The default is the code's configuration for COCO: 35,333,450 parameters behind VGG-19's last convolution. The released
code's dropout halves activations at test time; Keras' doubles the kept ones in training instead, so that the kernels
behind a dropout are half of the released ones.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import keras
from keras import layers, ops

from keras_segattn import graph, registry
from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.decoding import BeamRules, Decoder, searching, sequence_endpoints
from keras_segattn.endpoints import Endpoint
from keras_segattn.fields import BOS, PAD, Picture, Tokens, Vectors
from keras_segattn.initializers import normal
from keras_segattn.inputs import check_vocabulary, image_input, source_input, stamped, token_input
from keras_segattn.layers import (
    AdditiveAttention,
    AttentionLSTMCell,
    AttentionRNN,
    HardAttention,
    MaskedSteps,
    NotEqual,
    UniformAttention,
    ZeroWhereNot,
)
from keras_segattn.layers.attention_score import AttentionScore
from keras_segattn.registry import Card, Paper, Training, register

# Initialisers of rectangular matrices. The released code's deviation suits a state of a thousand units and more.
INITIALIZATIONS: dict[str, Any] = {
    "paper": normal(0.01),
    "scaled": "glorot_uniform",
}
# The released code makes square matrices orthogonal.
SQUARE = "orthogonal"
RULES = BeamRules(length=30)
TAPS = {"VGG19": "block5_conv4", "VGG16": "block5_conv3"}


def endpoints(model: keras.Model, options: Mapping[str, Any]) -> dict[str, Endpoint]:
    """Return the signatures of a trained `ShowAttendTell`; see `decoding.sequence_endpoints`."""
    return sequence_endpoints(model, decoder_of(model), encoded(model), options)


@register(
    Card(
        paper=Paper(
            "Show, Attend and Tell: Neural Image Caption Generation with Visual Attention",
            "Xu et al.",
            "ICML",
            2015,
            "1502.03044",
        ),
        task="write",
        inputs={
            "image": Picture("BGR", mean=(103.939, 116.779, 123.68), size=(224, 224)),
            "target": Tokens("target", 10000, target=True),
        },
        published={"input_shape": (224, 224, 3)},
        parameters=55_357_834,
        tiny={
            "vocabulary": 9,
            "backbone": "squeezenet1_1",
            "alpha": 0.125,
            "input_shape": (64, 48, 3),
            "units": 6,
            "embedding": 5,
        },
        claims={"mixed_precision"},
        options=asdict(RULES),
        endpoints=endpoints,
        training=Training(backbone="annotations"),
    )
)
def ShowAttendTell(  # noqa: N802 - a builder is named like the model it builds
    vocabulary: int = 10000,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = (224, 224, 3),
    name: str = "show_attend_tell",
    *,
    backbone: str | None = "vgg19",
    tap: str | None = None,
    alpha: float = 1.0,
    units: int = 1800,
    embedding: int = 512,
    attention: str = "additive",
    key_layers: int = 1,
    initial_layers: int = 1,
    initialization: str = "paper",
    dropout: float = 0.5,
    unroll: bool = False,
) -> keras.Model:
    """Build Show, Attend and Tell (Xu et al. 2015) for training: one input is the caption, shifted by one word.

    Args:
        vocabulary: number of tokens; 0 is padding, 1 begins and 2 ends a caption.
        weights: `None` (random) or the name of weights packaged for the backbone, such as `"imagenet"` with
            `backbone="efficientnet_lite0"`.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)` of the picture, or, without a backbone, `(locations, size)` of
            annotations that are computed elsewhere.
        name: name of the model.
        backbone: name of a registered backbone, or `None`.
        tap: layer of the backbone whose output is the grid; by default the last convolution of VGG-19 and VGG-16, and
            the coarsest feature map registered for any other backbone.
        alpha: width multiplier of the backbone.
        units: width of the LSTM.
        embedding: width of the word embeddings.
        attention: `"additive"`; `"hard"` for the same layers trained by `training.HardAttentionTrainer`, which draws
            one location per word; or `"uniform"` for the mean annotation at each word, as a baseline.
        key_layers: number of layers that the attention's keys pass after the first.
        initial_layers: number of hidden layers between the mean annotation and the first state.
        initialization: `"paper"` for the released code's, or `"scaled"` for deviations that follow from the widths of
            the layers, with which networks of a few hundred units learn sooner.
        dropout: rate before the layers that compute logits and in those that compute the initial state.
        unroll: whether the loop becomes a graph without a loop, for captions of known length.

    Returns:
        Model from a dict `image` float32 `(batch, height, width, channels)`, preprocessed for the backbone (or
        `annotations` float32 `(batch, L, D)`), and `target` int32 `(batch, T)`, beginning of caption first, to a dict
        `logits` float32 `(batch, T, vocabulary)` of the word that follows each, and `attention` float32
        `(batch, T, L)`, row by row of the grid.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> model = ShowAttendTell()
        >>> outputs = model({"image": images, "target": captions})
    """
    for argument, size in (("units", units), ("embedding", embedding)):
        check_positive_integer(argument, size)
    check_vocabulary("vocabulary", vocabulary)
    check_choice("attention", attention, ("additive", "hard", "uniform"))
    check_choice("initialization", initialization, tuple(INITIALIZATIONS))
    kernels = INITIALIZATIONS[initialization]
    inputs, annotations = annotations_of(backbone, tap, weights, input_tensor, input_shape, alpha)
    width = annotations.shape[-1]
    target = token_input("target", "ShowAttendTell", vocabulary, target=True)

    mean = layers.GlobalAveragePooling1D(name="mean_annotation")(annotations)
    for number in range(1, initial_layers + 1):
        mean = layers.Dense(width, activation="relu", kernel_initializer=SQUARE, name=f"initial_layer{number}")(mean)
        mean = layers.Dropout(dropout, name=f"initial_dropout{number}")(mean)
    start = [
        layers.Dense(units, activation="tanh", kernel_initializer=kernels, name=f"initial_{part}")(mean)
        for part in ("state", "memory")
    ]
    parts = decoder_layers(vocabulary, embedding, dropout, kernels)
    words = ZeroWhereNot(name="words")(parts["embedding"](target), NotEqual(BOS, name="not_first")(target))
    score = score_of(attention, width, key_layers, kernels)
    cell = AttentionLSTMCell(
        units, score, "scalar", kernel_initializer=kernels, context_initializer=kernels, name="decoder_cell"
    )
    found = AttentionRNN(cell, unroll=unroll, name="decoder")(words, annotations, initial_state=start)
    logits = read_out(parts, found["outputs"], words, found["context"])
    logits = MaskedSteps(name="logits_of_words")([logits, NotEqual(PAD, name="target_mask")(target)])
    outputs = {"logits": logits, "attention": found["weights"]}
    return keras.Model(inputs | {"target": source_input(target)}, outputs, name=name)


def annotations_of(
    backbone: str | None,
    tap: str | None,
    weights: str | None,
    input_tensor: Any,
    input_shape: tuple[int | None, ...] | None,
    alpha: float,
) -> tuple[dict[str, Any], Any]:
    """Return the model's first input by name, and annotations `(batch, L, D)`."""
    if backbone is None:
        if input_shape is None or len(input_shape) != 2:
            raise ValueError(f"without a backbone input_shape must be (locations, size), received {input_shape!r}")
        annotations = keras.Input(input_shape, name="annotations")
        return {"annotations": annotations}, stamped(annotations, "ShowAttendTell", "annotations", Vectors())
    card = registry.model_card(backbone)
    image = image_input(input_tensor, input_shape, "ShowAttendTell", None)
    network = card.builder(include_top=False, input_tensor=image, weights=weights, alpha=alpha)
    coarsest = max(card.taps, key=lambda layer: card.taps[layer].stride)
    grid = network.get_layer(tap or TAPS.get(card.name, coarsest)).output
    inputs = {source.name: source for source in graph.sources(image)}
    return inputs, layers.Reshape((-1, grid.shape[-1]), name="annotations")(grid)


def score_of(attention: str, width: int, key_layers: int, kernels: Any) -> AttentionScore:
    """Make the attention of that name."""
    if attention == "uniform":
        return UniformAttention(name="alignment")
    additive = AdditiveAttention(
        width,
        key_bias=True,
        key_layers=key_layers,
        score_bias=True,
        query_initializer=kernels,
        key_initializer=kernels,
        layer_initializer=SQUARE,
        score_initializer=kernels,
        name="alignment",
    )
    return HardAttention(additive, name="drawn_alignment") if attention == "hard" else additive


def decoder_layers(vocabulary: int, embedding: int, dropout: float, kernels: Any) -> dict[str, layers.Layer]:
    """Make the layers before and after the decoder's loop, by name."""
    parts = [
        layers.Embedding(vocabulary, embedding, embeddings_initializer=kernels, name="embedding"),
        layers.Dropout(dropout, name="state_dropout"),
        layers.Dense(embedding, kernel_initializer=kernels, name="readout_state"),
        layers.Dense(embedding, kernel_initializer=kernels, name="readout_context"),
        layers.Add(name="readout_sum"),
        layers.Activation("tanh", name="readout"),
        layers.Dropout(dropout, name="readout_dropout"),
        layers.Dense(vocabulary, kernel_initializer=kernels, name="logits"),
    ]
    return {layer.name: layer for layer in parts}


def read_out(parts: dict[str, layers.Layer], states: Any, words: Any, context: Any) -> Any:
    """Compute logits from the state, the previous word and the gated context (the paper's equation 7)."""
    x = parts["readout_state"](parts["state_dropout"](states))
    x = parts["readout_sum"]([x, words, parts["readout_context"](context)])
    return parts["logits"](parts["readout_dropout"](parts["readout"](x)))


@keras.saving.register_keras_serializable(package="keras_segattn")
class ShowAttendTellDecoder(Decoder):
    """The decoder of a trained `ShowAttendTell`, for the searches of `keras_segattn.decoding`.

    It reads `annotations` `(batch, L, D)`, `state` and `memory` `(batch, units)`.

    Args:
        cell: cell of the decoder's loop.
        parts: layers around that loop.
        bos: id that begins a caption; its embedding counts as zero.

    Example:
        >>> search = BeamSearch(ShowAttendTellDecoder(cell, parts, bos=1), bos=1, eos=2)
    """

    def __init__(self, cell: AttentionLSTMCell, parts: list[layers.Layer], bos: int = BOS, **kwargs: Any) -> None:
        super().__init__(cell, parts, **kwargs)
        self.bos = bos

    def build_layers(self, encoded_shape: dict[str, Any]) -> None:
        """Make the weights of the cell and of the layers around it."""
        self.build_cell(self.parts["embedding"].output_dim, encoded_shape["annotations"])
        words = self.parts["embedding"](keras.KerasTensor((None,), dtype="int32"))
        states, context = (keras.KerasTensor((None, n)) for n in (self.cell.units, encoded_shape["annotations"][-1]))
        read_out(self.parts, states, words, context)

    def start(self, encoded: dict[str, Any], hypotheses: int) -> tuple[list[Any], Any]:
        """Return the states before the first word, and the annotations with their keys."""
        memory = self.cell.attention.remember(encoded["annotations"]).repeated(hypotheses)
        states = [ops.repeat(encoded[name], hypotheses, axis=0) for name in ("state", "memory")]
        return self.cell.start(states, memory), memory

    def step(self, tokens: Any, states: list[Any], memory: Any) -> tuple[Any, Any, list[Any]]:
        """Attend, update the states with the token, and predict the next token."""
        words = self.parts["embedding"](tokens)
        words = words * ops.cast(ops.not_equal(tokens, self.bos), words.dtype)[:, None]
        seen, states = self.cell.attend_and_advance(self.cell.project(words), states, memory)
        return read_out(self.parts, states[0], words, seen.context), seen.weights, states

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild the layer."""
        return super().get_config() | {"bos": self.bos}


def drawing(model: keras.Model) -> keras.Model:
    """Make a model that draws the locations it attends to, on the layers of a `ShowAttendTell` with hard attention.

    Args:
        model: model that `ShowAttendTell(attention="hard")` built.

    Returns:
        Model from the same inputs, `noise` float32 `(batch, T, L)` in [0, 1) and `drawn` bool `(batch,)` to a dict of
        `logits`, `attention` and `choices` `(batch, T, L)`, 1 at the locations drawn. Examples whose `drawn` is false
        use the expected context.

    Raises:
        ValueError: if `ShowAttendTell` did not build the model with hard attention.

    Example:
        >>> outputs = drawing(model)({"image": images, "target": captions, "noise": noise, "drawn": coin})
    """
    parts = parts_of(model)
    decoder = model.get_layer("decoder")
    if not isinstance(decoder.cell.attention, HardAttention):
        raise ValueError(f'expected a model with attention="hard", received {model.name} with another')
    words, annotations = model.get_layer("words").output, model.get_layer("annotations").output
    noise = keras.Input((None, annotations.shape[1]), name="noise")
    drawn = keras.Input((), dtype="bool", name="drawn")
    start = [model.get_layer(f"initial_{part}").output for part in ("state", "memory")]
    found = decoder(words, annotations, initial_state=start, noise=noise, drawn=drawn)
    logits = read_out(parts, found["outputs"], words, found["context"])
    logits = MaskedSteps(name="logits_of_words")([logits, NotEqual(PAD, name="target_mask")(model.input["target"])])
    outputs = {"logits": logits, "attention": found["weights"], "choices": found["choices"]}
    return keras.Model(model.input | {"noise": noise, "drawn": drawn}, outputs, name=f"{model.name}_drawing")


PARTS = (
    "embedding",
    "state_dropout",
    "readout_state",
    "readout_context",
    "readout_sum",
    "readout",
    "readout_dropout",
    "logits",
)


def parts_of(model: keras.Model) -> dict[str, layers.Layer]:
    """Return the layers around the decoder's loop, by name."""
    names = {layer.name for layer in model.layers}
    if not {"decoder", "readout_context", "initial_memory"} <= names:
        raise ValueError(f"expected a model that ShowAttendTell built, received {model.name} without its decoder")
    return {name: model.get_layer(name) for name in PARTS}


def decoder_of(model: keras.Model) -> ShowAttendTellDecoder:
    """Make the decoder of a trained model, on the same layers."""
    parts = list(parts_of(model).values())
    return ShowAttendTellDecoder(model.get_layer("decoder").cell, parts, name="decoder_step")


def encoded(model: keras.Model) -> dict[str, Any]:
    """Return the tensors of a trained model's graph that its decoder reads."""
    names = {"annotations": "annotations", "state": "initial_state", "memory": "initial_memory"}
    return {key: model.get_layer(name).output for key, name in names.items()}


def captioner(model: keras.Model, rules: BeamRules | None = None) -> keras.Model:
    """Make a model that captions pictures by beam search, on the layers of a trained `ShowAttendTell`.

    Args:
        model: model that `ShowAttendTell` built; its weights are shared.
        rules: rules of the search; the released code's are `BeamRules(5, 30, "shrink")`.

    Returns:
        Model from the picture (or annotations) to the dict that `BeamSearch` returns.

    Raises:
        ValueError: if `ShowAttendTell` did not build the model.

    Example:
        >>> captions = captioner(model)(images)["tokens"][:, 0]
    """
    return searching(model, decoder_of(model), encoded(model), rules or RULES, name=f"{model.name}_captioner")
