# %% [markdown]
# # Migrate a sequence-to-sequence program from TensorFlow Addons
#
# TensorFlow Addons has no release for Keras 3. This tutorial goes through a `tfa.seq2seq` program part by part: first
# the old code, then a cell with the new one. The program spells numbers: it reads the digits `472` and writes `four
# hundred seventy two`. It trains in about a minute on two cores.
#
# From a clone of the repository, install the package with `pip install .`. Then run this file, or its cells one by one.
#
# | `tensorflow_addons.seq2seq` | `keras_segattn` |
# |---|---|
# | `AttentionWrapper(cell, mechanism)` | `layers.InputFeedingCell(cell, units, attention=mechanism)` |
# | `attention_layer_size=n` | `layers.InputFeedingCell(units=n, activation=None)` |
# | `LuongAttention(units, scale=)` | `layers.GeneralAttention(scale=)`; its units are those of the query |
# | `BahdanauAttention(units, normalize=)` | `layers.AdditiveAttention(units, normalize=)` |
# | `BahdanauMonotonicAttention`, `LuongMonotonicAttention` | `layers.MonotonicAttention` around one of the two |
# | `sigmoid_noise=`, `score_bias_init=`, `mode="hard"` | `layers.MonotonicAttention(noise=, score_bias=, hard=)` |
# | `memory=` | `annotations` in the dict that the decoder reads |
# | `memory_sequence_length=` | `mask` in that dict; or Keras' implicit mask, from `Embedding(mask_zero=True)` |
# | `alignment_history=True` | always: the output `attention` |
# | `AttentionWrapper.get_initial_state`, `.clone(cell_state=)` | `state0`, `state1`, … in that dict |
# | `BasicDecoder(cell, sampler, output_layer)` | `decoding.Decoder(cell, [embedding, output_layer])` |
# | `TrainingSampler` | `decoding.TeacherForcing(decoder)` |
# | `ScheduledEmbeddingTrainingSampler` | `decoding.TeacherForcing(decoder, sampling_probability=)` |
# | `seed=`, `scheduling_seed=` | `decoding.TeacherForcing(decoder, seed=)` |
# | `GreedyEmbeddingSampler` | the signature `decode_greedy`, or `decoding.BeamRules(beams=1)` |
# | `SampleEmbeddingSampler` | `decoding.SampleTokens` |
# | `softmax_temperature=` | `decoding.SamplingRules(temperature=)` |
# | `BeamSearchDecoder` | `decoding.BeamSearch`, or the signature `decode_beam` |
# | `beam_width` | `decoding.BeamRules(beams=)` |
# | `maximum_iterations=` | `decoding.BeamRules(length=)` |
# | `length_penalty_weight=` | `decoding.BeamRules(normalize="gnmt", alpha=)` |
# | `coverage_penalty_weight=` | `decoding.BeamRules(coverage=)` |
# | `start_tokens=`, `end_token=` | ids 1 and 2 of every `data.Vocabulary` |
# | `tile_batch` | nothing: the search repeats what it needs |
# | `sequence_loss`, `SequenceLoss` | `losses.SequenceCrossEntropy`, per sentence instead of per token |
# | `FinalBeamSearchDecoderOutput.predicted_ids` `(batch, T, beams)` | the output `tokens` `(batch, beams, T)` |
# | `BaseDecoder`, `Sampler` of one's own | a subclass of `decoding.Decoder` with up to three methods |

# %%
import tempfile
from pathlib import Path

import keras
import tensorflow as tf

import keras_segattn as ks
from keras_segattn import data, decoding, export, layers, losses

work = Path(tempfile.mkdtemp(prefix="segattn_"))
keras.utils.set_random_seed(0)

# %% [markdown]
# ## Data
#
# Both programs read pairs of sentences. `data.parallel_text` reads them from two files; here they are made.

# %%
ONES = """
one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen
"""
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
ones, tens = ["", *ONES.split()], ["", "", *TENS.split()]


def spelt(number):
    if number >= 100:
        return [ones[number // 100], "hundred", *spelt(number % 100)]
    below = [ones[number]] if number < 20 else [tens[number // 10], ones[number % 10]]
    return [word for word in below if word]


pairs = [(list(str(number)), spelt(number)) for number in range(1, 1000)]
digits, words = (data.Vocabulary.of(pair[side] for pair in pairs) for side in (0, 1))
ids = [(digits.encode(source), words.encode(target)) for source, target in pairs]
held_out, ids = ids[::9], [pair for place, pair in enumerate(ids) if place % 9]

# %% [markdown]
# ## Encoder
#
# Old:
#
# ```python
# x = tf.keras.layers.Embedding(len(digits), 32)(source)
# memory, h, c = tf.keras.layers.LSTM(64, return_sequences=True, return_state=True)(x)
# ```
#
# New: the same. With `mask_zero=True` the padding is masked in every later layer, where the old program passed
# `memory_sequence_length`.

# %%
source = keras.Input((None,), dtype="int32", name="source")
target = keras.Input((None,), dtype="int32", name="target")
x = keras.layers.Embedding(len(digits), 32, mask_zero=True)(source)
memory, h, c = keras.layers.LSTM(64, return_sequences=True, return_state=True)(x)

# %% [markdown]
# ## Decoder and training
#
# Old:
#
# ```python
# embedding = tf.keras.layers.Embedding(len(words), 32)
# mechanism = tfa.seq2seq.LuongAttention(64, memory, memory_sequence_length=lengths, scale=True)
# cell = tfa.seq2seq.AttentionWrapper(tf.keras.layers.LSTMCell(64), mechanism, attention_layer_size=64)
# sampler = tfa.seq2seq.ScheduledEmbeddingTrainingSampler(sampling_probability=0.1, embedding_fn=embedding)
# decoder = tfa.seq2seq.BasicDecoder(cell, sampler, output_layer=tf.keras.layers.Dense(len(words)))
# start = cell.get_initial_state(batch_size=batch, dtype=tf.float32).clone(cell_state=[h, c])
# outputs, _, _ = decoder(embedding(target), initial_state=start, sequence_length=target_lengths)
# loss = tfa.seq2seq.sequence_loss(outputs.rnn_output, following, weights)
# ```
#
# New: a functional model, to which `fit`, `save`, the exporters and the command `segattn` apply. For a
# `TrainingSampler`, leave out `sampling_probability`. A stack of cells is
# `keras.layers.StackedRNNCells([…])` instead of the `LSTMCell`.

# %%
mechanism = layers.GeneralAttention(scale=True)
cell = layers.InputFeedingCell(keras.layers.LSTMCell(64), units=64, attention=mechanism, activation=None)
decoder = decoding.Decoder(
    cell, [keras.layers.Embedding(len(words), 32, name="words"), keras.layers.Dense(len(words), name="logits")]
)
forcing = decoding.TeacherForcing(decoder, sampling_probability=0.1)
outputs = forcing({"annotations": memory, "state0": h, "state1": c}, target)
model = keras.Model({"source": source, "target": target}, outputs, name="spell")

# XLA would compile anew for every length of the sentences.
model.compile(keras.optimizers.Adam(1e-2), {"logits": losses.SequenceCrossEntropy()}, jit_compile=False)
batches = data.SequenceBatches(ids, batch_size=64, multiple=4, shuffle=True)
history = model.fit(batches, epochs=12, verbose=2)

# %% [markdown]
# ## Use
#
# Old:
#
# ```python
# tiled = tfa.seq2seq.tile_batch(memory, multiplier=3)
# mechanism.setup_memory(tiled, memory_sequence_length=tfa.seq2seq.tile_batch(lengths, multiplier=3))
# search = tfa.seq2seq.BeamSearchDecoder(cell, beam_width=3, output_layer=dense, maximum_iterations=8)
# state = tfa.seq2seq.tile_batch([h, c], multiplier=3)
# start = cell.get_initial_state(batch_size=3 * batch, dtype=tf.float32).clone(cell_state=state)
# found, _, _ = search(embedding.embeddings, start_tokens=begins, end_token=2, initial_state=start)
# ```
#
# New: the model knows its search. The facts hold the vocabularies and the rules of the search.

# %%
rules = decoding.BeamRules(beams=3, length=8)
facts = ks.facts_of(model, vocabularies={"source": digits, "target": words}, options=rules)
speller = ks.load(model, facts=facts)
texts = ["".join(digits.decode(number)) for number, _ in held_out]
found = [result.sentences[0].tokens for result in speller.predict_many(texts, batch_size=64)]
right = sum(list(tokens) == words.decode(expected) for tokens, (_, expected) in zip(found, held_out, strict=True))
print(f"{right} of {len(held_out)} held-out numbers are spelt right")
best = speller.predict("472").sentences[0].tokens
print("472:", *best)

# %% [markdown]
# ## Files
#
# The old program had no file that others could run without its code. The new one writes a `.keras` file, a SavedModel
# for servers, which takes and gives texts, and a `.tflite` file for phones. `segattn predict spell.keras 472` works
# with each.

# %%
ks.save(model, work / "spell.keras", facts=facts)
served = export.saved_model(model, work, facts=facts)
export.tflite(model, work / "spell.tflite", facts=facts, sizes={"source": (6,)})
answers = {path.name: ks.load(path).predict("472").sentences[0].tokens for path in work.glob("spell.*")}
server = tf.saved_model.load(str(served.path)).signatures["text"]
answers["server"] = tuple(server(source=tf.constant(["472"]))["sentences"][0, 0].numpy().decode().split())
print(answers)
if {*answers.values()} == {best}:
    print(f"the same sentence from every file; files in {work}")
