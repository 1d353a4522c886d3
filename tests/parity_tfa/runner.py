"""Runs one function of TensorFlow Addons: `python runner.py REQUEST.json`.

The request holds the name of the `function`, its `options`, and two `.npz` files, `inputs` and `outputs`.

Addons needs Keras 2 and patches for today's NumPy, so it runs in its own process, which imports nothing of this
package. A new oracle is a function of arrays and options by keyword, added to `ORACLES`.
"""

import json
import os
import sys
import warnings
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np


def import_addons():
    """Import TensorFlow Addons 0.23 under today's TensorFlow, Keras and NumPy."""
    import tf_keras.src.engine
    import tf_keras.src.engine.keras_tensor

    np.Inf = np.inf  # noqa: NPY201  NumPy 2 removed it
    sys.modules["keras.src.engine"] = tf_keras.src.engine
    sys.modules["keras.src.engine.keras_tensor"] = tf_keras.src.engine.keras_tensor
    import tensorflow_addons

    tensorflow_addons.options.disable_custom_kernel()  # its C++ kernels were built for another TensorFlow
    return tensorflow_addons


def sigmoid_focal_crossentropy(y_true, logits, probabilities, settings):
    """Return the losses of the samples, and the gradients of their sum with respect to the predictions.

    `settings` is a list of arguments for the loss. The results for all of them are stacked along a first axis.
    """
    import tensorflow as tf

    addons = import_addons()
    losses, gradients = [], []
    for arguments in settings:
        loss = addons.losses.SigmoidFocalCrossEntropy(**arguments)
        y_pred = tf.constant(logits if arguments["from_logits"] else probabilities)
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(tf.constant(y_true), y_pred)
        losses.append(value.numpy())
        gradients.append(tape.gradient(value, y_pred).numpy())
    return {"losses": np.stack(losses), "gradients": np.stack(gradients)}


def attention_scores(query, memory, lengths, query_kernel, memory_kernel, score, general_kernel):
    """Return the attention weights of `BahdanauAttention` and of `LuongAttention` for a query."""
    addons = import_addons()
    bahdanau = _built(addons.seq2seq.BahdanauAttention(len(score)), memory, lengths)
    bahdanau.memory_layer.kernel.assign(memory_kernel)
    bahdanau.setup_memory(memory, lengths)
    bahdanau([query, np.zeros(memory.shape[:2], "float32")])
    bahdanau.query_layer.kernel.assign(query_kernel)
    bahdanau.attention_v.assign(score)
    luong = _built(addons.seq2seq.LuongAttention(query.shape[1]), memory, lengths)
    luong.memory_layer.kernel.assign(general_kernel)
    luong.setup_memory(memory, lengths)
    state = np.zeros(memory.shape[:2], "float32")
    return {"bahdanau": bahdanau([query, state])[0].numpy(), "luong": luong([query, state])[0].numpy()}


def monotonic_attention(probabilities, previous):
    """Return the weights of `monotonic_attention` in all modes; the mode `"hard"` takes the rounded probabilities."""
    function = import_addons().seq2seq.monotonic_attention
    found = {mode: function(probabilities, previous, mode).numpy() for mode in ("recursive", "parallel")}
    first = np.eye(previous.shape[1], dtype="float32")[previous.argmax(1)]
    return found | {"hard": function(np.round(probabilities), first, "hard").numpy()}


def _built(mechanism, memory, lengths):
    """Give a mechanism its first memory, so that it creates its layers, and return it."""
    mechanism.setup_memory(memory, lengths)
    return mechanism


def beam_search(memory, lengths, state, cell, embedding, settings, **weights):
    """Search with `BeamSearchDecoder` and an `AttentionWrapper` around an LSTM, once per setting."""
    import tensorflow as tf
    import tf_keras

    addons = import_addons()
    found = {}
    for number, (beams, length, length_penalty, coverage) in enumerate(settings):
        tiled, tiled_lengths, h, c = (addons.seq2seq.tile_batch(x, beams) for x in (memory, lengths, state, cell))
        attention = _built(addons.seq2seq.BahdanauAttention(len(weights["score"])), tiled, tiled_lengths)
        attention.memory_layer.kernel.assign(weights["memory_kernel"])
        attention.setup_memory(tiled, tiled_lengths)
        layer = tf_keras.layers.Dense(weights["attention_kernel"].shape[1], "tanh", use_bias=False)
        wrapper = addons.seq2seq.AttentionWrapper(
            tf_keras.layers.LSTMCell(state.shape[1]), attention, attention_layer=layer
        )
        output = tf_keras.layers.Dense(len(embedding), use_bias=False)
        batch = len(memory) * beams
        start = wrapper.get_initial_state(batch_size=batch, dtype=tf.float32).clone(cell_state=[h, c])
        seen, _ = wrapper(tf.zeros((batch, embedding.shape[1])), start)  # creates the weights
        output(seen)
        for variable, name in (
            (wrapper._cell.kernel, "kernel"),
            (wrapper._cell.recurrent_kernel, "recurrent_kernel"),
            (wrapper._cell.bias, "bias"),
            (attention.query_layer.kernel, "query_kernel"),
            (attention.attention_v, "score"),
            (layer.kernel, "attention_kernel"),
            (output.kernel, "output_kernel"),
        ):
            variable.assign(weights[name])
        decoder = addons.seq2seq.BeamSearchDecoder(
            wrapper,
            beams,
            output_layer=output,
            length_penalty_weight=length_penalty,
            coverage_penalty_weight=coverage,
            maximum_iterations=length,
        )
        begins = np.ones(len(memory), "int32")
        result, final, _ = decoder(embedding, start_tokens=begins, end_token=2, initial_state=start)
        tokens = result.predicted_ids.numpy().transpose(0, 2, 1)
        padded = np.full((len(memory), beams, length), 2)
        padded[..., : tokens.shape[2]] = tokens
        found |= {f"tokens{number}": padded, f"log_probabilities{number}": final.log_probs.numpy()}
    return found


def warps(image, flow, points, control, values, queries):
    """Sample images at flows and at points (row, column), and interpolate thin-plate splines."""
    image_module = import_addons().image
    return {
        "dense_image_warp": image_module.dense_image_warp(image, flow).numpy(),
        "interpolate_bilinear": image_module.interpolate_bilinear(image, points).numpy(),
        "interpolate_spline": image_module.interpolate_spline(control, values, queries, order=2).numpy(),
    }


ORACLES = {
    "image.warps": warps,
    "losses.SigmoidFocalCrossEntropy": sigmoid_focal_crossentropy,
    "seq2seq.attention": attention_scores,
    "seq2seq.BeamSearchDecoder": beam_search,
    "seq2seq.monotonic_attention": monotonic_attention,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with np.load(request["inputs"]) as arrays:
        results = ORACLES[request["function"]](**arrays, **request["options"])
    with Path(request["outputs"]).open("wb") as file:
        np.savez(file, **results)
