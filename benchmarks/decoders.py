"""Compares an attention decoder and its beam search with TensorFlow Addons and PyTorch, interleaved.

    python benchmarks/decoders.py --rounds 12

It needs the packages of `make parity` and an idle machine. All contenders compute the same network with the same
weights in float32 on two threads: an LSTM of 512 units in Luong's order with additive attention to 196 annotations of
512 numbers, for 20 words from a vocabulary of 10,000. Each contender is a process of its own; in every round each has
its turn, in a new random order. Before any is timed, their outputs must be equal. Times are medians; ratios are our
time ÷ the contender's.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parents[1] / "tests"
LOCATIONS, SIZE, STEPS, VOCABULARY, BEAMS = 196, 512, 20, 10_000, 5
WORKS = {"forward": (1, 32), "training": (1, 32), "beam": (1, 8, 32)}
OURS, COMPILED, ADDONS, TORCH, SCRIPTED = "ours", "ours, XLA", "TensorFlow Addons", "torch", "torch, scripted"
CONTENDERS = {
    "forward": (OURS, COMPILED, ADDONS, TORCH, SCRIPTED),
    "training": (OURS, COMPILED, ADDONS, TORCH, SCRIPTED),
    "beam": (OURS, COMPILED, ADDONS, TORCH),
}
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "2")
WARM_UPS = 2
# Seconds of calls in a sample, after one call that is not counted.
SAMPLE = 0.3
# Greatest difference: float32 through twenty steps and, in training, the sum of the squares of all gradients.
MOST_DIFFERENT = 1e-3


def inputs(batch):
    """Return weights, words and annotations, the same for all contenders."""
    random = np.random.default_rng(0)
    shapes = {
        "embedding": (VOCABULARY, SIZE),
        "words_kernel": (SIZE, 4 * SIZE),
        "fed_kernel": (SIZE, 4 * SIZE),
        "recurrent_kernel": (SIZE, 4 * SIZE),
        "bias": (4 * SIZE,),
        "query_kernel": (SIZE, SIZE),
        "key_kernel": (SIZE, SIZE),
        "score": (SIZE, 1),
        "context_kernel": (SIZE, SIZE),
        "state_kernel": (SIZE, SIZE),
        "output_kernel": (SIZE, VOCABULARY),
    }
    weights = {
        name: random.normal(0, 1.5 * shape[0] ** -0.5, shape).astype("float32") for name, shape in shapes.items()
    }
    given = {
        "annotations": random.normal(size=(batch, LOCATIONS, SIZE)).astype("float32"),
        "h": random.normal(size=(batch, SIZE)).astype("float32"),
        "c": random.normal(size=(batch, SIZE)).astype("float32"),
        "words": random.integers(3, VOCABULARY, (batch, STEPS)).astype("int32"),
        "following": random.integers(3, VOCABULARY, (batch, STEPS)).astype("int32"),
    }
    return weights, given


def trained(forward, following, variables):
    """Return the loss and the sum of the squares of its gradients, for Keras 2 and Keras 3 on TensorFlow."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(following, forward()))
    gradients = tape.gradient(loss, variables)
    return tf.stack([loss, sum(tf.reduce_sum(tf.square(tf.convert_to_tensor(g))) for g in gradients)])


def ours(work, batch, compiled):
    import tensorflow as tf
    from keras import ops

    from keras_segattn.decoding import BeamRules, beam_search
    from keras_segattn.layers import AdditiveAttention, AttentionLSTMCell, AttentionRNN, InputFeedingCell

    w, given = inputs(batch)
    attention = AdditiveAttention(SIZE)
    cell = InputFeedingCell(AttentionLSTMCell(SIZE, attention), SIZE)
    loop = AttentionRNN(cell)
    loop.build((None, None, SIZE), (None, None, SIZE))
    for weight, value in (
        (cell.cell.kernel, w["words_kernel"]),
        (cell.cell.context_kernel, w["fed_kernel"]),
        (cell.cell.recurrent_kernel, w["recurrent_kernel"]),
        (cell.cell.bias, w["bias"]),
        (attention.query_kernel, w["query_kernel"]),
        (attention.key_kernel, w["key_kernel"]),
        (attention.score_kernel, w["score"]),
        (cell.kernel, np.concatenate([w["context_kernel"], w["state_kernel"]])),
    ):
        weight.assign(value)
    embedding, output = (tf.Variable(w[name]) for name in ("embedding", "output_kernel"))
    variables = [embedding, output, *(weight.value for weight in loop.trainable_weights)]
    x = {name: tf.constant(value) for name, value in given.items()}

    def forward():
        words = tf.gather(embedding, x["words"])
        found = loop(words, x["annotations"], initial_state=[x["h"], x["c"]])
        return tf.matmul(found["outputs"], output)

    def training():
        return trained(forward, x["following"], variables)

    def beam():
        memory = attention.remember(x["annotations"]).repeated(BEAMS)

        def step(tokens, states):
            projected = cell.project(tf.gather(embedding, tokens))
            seen, states = cell.attend_and_advance(projected, states, memory)
            return tf.matmul(states[0], output), seen.weights, states

        states = cell.start([ops.repeat(x[name], BEAMS, axis=0) for name in ("h", "c")], memory)
        rules = BeamRules(BEAMS, STEPS, "keep")
        return beam_search(step, states, LOCATIONS, rules, VOCABULARY, 1, 2)["tokens"]

    function = tf.function({"forward": forward, "training": training, "beam": beam}[work], jit_compile=compiled)
    return lambda: function().numpy()


def addons(work, batch):
    sys.path.insert(0, str(TESTS / "parity_tfa"))
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf
    import tf_keras
    from runner import import_addons

    seq2seq = import_addons().seq2seq
    w, given = inputs(batch)
    times = BEAMS if work == "beam" else 1
    x = {name: tf.constant(value) for name, value in given.items()}
    memory, h, c = (seq2seq.tile_batch(x[name], times) for name in ("annotations", "h", "c"))
    attention = seq2seq.BahdanauAttention(SIZE)
    attention.setup_memory(memory)
    layer = tf_keras.layers.Dense(SIZE, "tanh", use_bias=False)
    wrapper = seq2seq.AttentionWrapper(tf_keras.layers.LSTMCell(SIZE), attention, attention_layer=layer)
    output = tf_keras.layers.Dense(VOCABULARY, use_bias=False)
    start = wrapper.get_initial_state(batch_size=batch * times, dtype=tf.float32).clone(cell_state=[h, c])
    output(wrapper(tf.zeros((batch * times, SIZE)), start)[0])  # makes the weights
    embedding = tf.Variable(w["embedding"])
    assigned = (
        (wrapper._cell.kernel, np.concatenate([w["words_kernel"], w["fed_kernel"]])),
        (wrapper._cell.recurrent_kernel, w["recurrent_kernel"]),
        (wrapper._cell.bias, w["bias"]),
        (attention.query_layer.kernel, w["query_kernel"]),
        (attention.memory_layer.kernel, w["key_kernel"]),
        (attention.attention_v, w["score"][:, 0]),
        (layer.kernel, np.concatenate([w["state_kernel"], w["context_kernel"]])),
        (output.kernel, w["output_kernel"]),
    )
    for variable, value in assigned:
        variable.assign(value)
    variables = [embedding, *(variable for variable, _ in assigned)]

    def forward():
        attention.setup_memory(memory)
        decoder = seq2seq.BasicDecoder(wrapper, seq2seq.TrainingSampler(), output)
        lengths = tf.fill((batch,), STEPS)
        words = tf.gather(embedding, x["words"])
        first = wrapper.get_initial_state(batch_size=batch, dtype=tf.float32).clone(cell_state=[h, c])
        return decoder(words, initial_state=first, sequence_length=lengths)[0].rnn_output

    def training():
        return trained(forward, x["following"], variables)

    def beam():
        attention.setup_memory(memory)
        decoder = seq2seq.BeamSearchDecoder(wrapper, BEAMS, output_layer=output, maximum_iterations=STEPS)
        first = wrapper.get_initial_state(batch_size=batch * BEAMS, dtype=tf.float32).clone(cell_state=[h, c])
        begins = tf.ones((batch,), tf.int32)
        found, *_ = decoder(embedding, start_tokens=begins, end_token=2, initial_state=first)
        return tf.transpose(found.predicted_ids, (0, 2, 1))

    function = tf.function({"forward": forward, "training": training, "beam": beam}[work])
    return lambda: function().numpy()


def torch_(work, batch, scripted):
    import torch

    torch.set_num_threads(2)
    arrays, given = inputs(batch)
    w = {name: torch.from_numpy(value).requires_grad_(work == "training") for name, value in arrays.items()}
    x = {name: torch.from_numpy(value) for name, value in given.items()}

    def step(w: dict[str, torch.Tensor], projected, fed, h, c, annotations, keys):
        joined = projected + fed @ w["fed_kernel"] + h @ w["recurrent_kernel"]
        i, f, g, o = joined.chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        energies = torch.tanh((h @ w["query_kernel"]).unsqueeze(1) + keys) @ w["score"]
        context = (energies.softmax(dim=1).transpose(1, 2) @ annotations).squeeze(1)
        return torch.tanh(context @ w["context_kernel"] + h @ w["state_kernel"]), h, c

    if scripted:
        step = torch.jit.script(step)

    def forward():
        projected = w["embedding"][x["words"].long()] @ w["words_kernel"] + w["bias"]
        keys, h, c = x["annotations"] @ w["key_kernel"], x["h"], x["c"]
        fed, outputs = torch.zeros_like(h), []
        for t in range(STEPS):
            fed, h, c = step(w, projected[:, t], fed, h, c, x["annotations"], keys)
            outputs.append(fed)
        return torch.stack(outputs, dim=1) @ w["output_kernel"]

    def training():
        for tensor in w.values():
            tensor.grad = None
        logits = forward().reshape(-1, VOCABULARY)
        loss = torch.nn.functional.cross_entropy(logits, x["following"].reshape(-1).long())
        loss.backward()
        return torch.stack([loss.detach(), sum(tensor.grad.square().sum() for tensor in w.values())])

    def beam():
        """Search the batch in step and keep finished hypotheses; with random weights none ends before the last step."""
        memory, h, c = (x[name].repeat_interleave(BEAMS, dim=0) for name in ("annotations", "h", "c"))
        keys, fed = memory @ w["key_kernel"], torch.zeros_like(h)
        sums = torch.full((batch, BEAMS), -1e9)
        sums[:, 0] = 0
        tokens, written = torch.ones(batch * BEAMS, dtype=torch.long), torch.zeros((batch, BEAMS, 0), dtype=torch.long)
        ended = torch.zeros((batch, BEAMS), dtype=torch.bool)
        first = torch.arange(batch).unsqueeze(1) * BEAMS
        for _ in range(STEPS):
            projected = w["embedding"][tokens] @ w["words_kernel"] + w["bias"]
            fed, h, c = step(w, projected, fed, h, c, memory, keys)
            log = (fed @ w["output_kernel"]).log_softmax(dim=-1).reshape(batch, BEAMS, VOCABULARY)
            nothing = torch.full_like(log, -1e9)
            nothing[..., 2] = 0
            log = torch.where(ended.unsqueeze(-1), nothing, log)
            sums, best = (sums.unsqueeze(-1) + log).reshape(batch, -1).topk(BEAMS, dim=1)
            parents, chosen = best // VOCABULARY, best % VOCABULARY
            rows = (first + parents).reshape(-1)
            fed, h, c = fed[rows], h[rows], c[rows]
            ended = ended.gather(1, parents) | (chosen == 2)
            written = torch.cat(
                [written.reshape(batch * BEAMS, -1)[rows].reshape(batch, BEAMS, -1), chosen.unsqueeze(-1)], 2
            )
            tokens = chosen.reshape(-1)
            if ended.all():
                break
        return written

    run = {"forward": forward, "training": training, "beam": beam}[work]
    if work == "training":
        return lambda: run().numpy()

    def without_gradient():
        with torch.no_grad():
            return run().numpy()

    return without_gradient


def work_as(name, work, batch, expected):
    """Work as a contender's process: print the difference from our outputs, then time calls for every line received."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output of libraries goes to stderr; only answers go to the parent
    if name in (OURS, COMPILED):
        run = ours(work, batch, name == COMPILED)
    else:
        run = addons(work, batch) if name == ADDONS else torch_(work, batch, name == SCRIPTED)
    for _ in range(WARM_UPS):
        output = run()
    if name == OURS:
        np.save(expected, output)
    theirs = np.load(expected)
    if work == "beam":  # Addons does not sort its hypotheses after the last step
        output, theirs = (np.sort(tokens.reshape(batch, -1)) for tokens in (output, theirs))
    print(float(np.abs(output - theirs).max() / np.abs(theirs).max()), file=answers)
    for _ in sys.stdin:
        run()  # not timed: it refills the caches that other contenders have used
        calls, start = 0, time.perf_counter()
        while calls < 1 or time.perf_counter() - start < SAMPLE:
            run()
            calls += 1
        print((time.perf_counter() - start) / calls, file=answers)


class Worker:
    """A contender's process, warmed up."""

    def __init__(self, name, work, batch, expected):
        call = [
            sys.executable,
            __file__,
            "--worker",
            name,
            "--work",
            work,
            "--batch",
            str(batch),
            "--expected",
            expected,
        ]
        pipe, environment = subprocess.PIPE, os.environ | THREADS | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        self.process = subprocess.Popen(call, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.name, self.seconds, difference = name, [], self.answer()
        if not difference <= MOST_DIFFERENT:
            raise RuntimeError(f"{name}: outputs differ from ours by {difference:.1e}, limit {MOST_DIFFERENT}")

    def sample(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.seconds.append(self.answer())

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended before it answered")
        return float(line)


def compare(work, batch, rounds, expected):
    """Return the milliseconds of every contender, which take turns."""
    workers = []
    try:
        for name in CONTENDERS[work]:
            workers.append(Worker(name, work, batch, expected))  # noqa: PERF401 - those made before a failure are killed
        order = np.random.default_rng(0)
        for _ in range(rounds):
            for turn in order.permutation(len(workers)):
                workers[turn].sample()
        return {worker.name: 1e3 * statistics.median(worker.seconds) for worker in workers}
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.communicate()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--output", type=Path, default=Path("out/benchmarks"))
    for hidden in ("--worker", "--work", "--batch", "--expected"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work_as(arguments.worker, arguments.work, int(arguments.batch), arguments.expected)
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    names = CONTENDERS["forward"]
    print(f"| work | batch | {' | '.join(f'{name}, ms' for name in names)} | better of ours ÷ Addons | ÷ best torch |")
    print("|---|---|" + "---|" * (len(names) + 2))
    for work, batches in WORKS.items():
        for batch in batches:
            expected = arguments.output / f"decoders_{work}_{batch}.npy"
            found = compare(work, batch, arguments.rounds, str(expected))
            best = min(found[OURS], found[COMPILED])
            peer = min(value for name, value in found.items() if name.startswith("torch"))
            cells = [f"{found[name]:.0f}" if name in found else "" for name in names]
            print(
                f"| {work} | {batch} | {' | '.join(cells)} | {best / found[ADDONS]:.2f} | {best / peer:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
