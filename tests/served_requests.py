"""Malformed requests for every signature of a SavedModel, and a process that sends them through TensorFlow's C API.

As a script it prints, for each call of a request, whether it was answered or refused, and so shows which one ends it.
"""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np

MANY = 129


def malformed(inputs, specs, kinds):
    """Yield (what is wrong, inputs) for valid inputs of one signature.

    Args:
        inputs: input name → array with a batch of 2.
        specs: input name → shape of the signature, `None` where a size is open.
        kinds: input name → kind of the input, as far as it is known.
    """
    yield "empty batch", {name: array[:0] for name, array in inputs.items()}
    yield "huge batch", {name: np.resize(array, (MANY, *array.shape[1:])) for name, array in inputs.items()}
    for name, array in inputs.items():
        wrong = {"rank below": array[0, ...], "scalar": array[(0,) * array.ndim + (...,)], "rank above": array[None]}
        for axis, size in enumerate(specs[name][1:], start=1):
            if size is not None:
                wrong[f"size of axis {axis}"] = np.concatenate([array, array.take([0], axis=axis)], axis=axis)
            wrong[f"no size of axis {axis}"] = array.take([], axis=axis)
        if len(inputs) > 1:
            wrong |= {"batch of one": array[:1], "larger batch": np.concatenate([array, array[:1]])}
        if array.dtype.kind == "f":
            wrong |= {"NaN": np.full_like(array, np.nan), "infinity": np.full_like(array, np.inf)}
        if array.dtype.kind in "OS":
            texts = {"white space": b" \t", "no UTF-8": b"\xff\xd8\xff", "too long": b"a " * 60_000}
            wrong |= {what: np.array([array[0], text], object) for what, text in texts.items()}
        elif hasattr(kinds.get(name), "vocabulary"):
            wrong |= {"negative id": array * 0 - 1, "id beyond the vocabulary": array * 0 + kinds[name].size}
        for what, value in wrong.items():
            yield f"{name}: {what}", inputs | {name: value}


def sent(directory, folder):
    """Send malformed requests, and a valid one at last, to every signature in a process of its own.

    Args:
        directory: version directory of a SavedModel, whose warm-up file holds a valid request of each signature.
        folder: folder for the files of the process.

    Returns:
        What is wrong with each request → `"refused …"`, `"answered …"` or, if the process ended before, `"died"`.
    """
    import tensorflow as tf

    from keras_segattn import read_facts
    from keras_segattn.export.meta_graph import read_meta_graph, shape_of, signature_defs
    from keras_segattn.export.runtimes import libtensorflow_run
    from keras_segattn.export.runtimes.libtensorflow import serialised
    from keras_segattn.export.serving.warmup import read_warmup

    proto = type(tf.make_tensor_proto(0))
    kinds = read_facts(directory).inputs
    signatures = signature_defs(read_meta_graph(directory))
    calls, protos = [], {}
    for name, warmup in read_warmup(directory):
        tensors = signatures[name].inputs
        valid = {key: tf.make_ndarray(proto.FromString(content)) for key, content in warmup.items()}
        valid = {key: np.repeat(array, 2, axis=0) for key, array in valid.items()}
        like = kinds | {"tokens": kinds["target"]} if "target" in kinds else kinds
        cases = malformed(valid, {key: shape_of(tensor) for key, tensor in tensors.items()}, like)
        for what, inputs in [*cases, ("valid", valid)]:
            protos |= {
                f"{len(calls)}/{tensors[key].name}": np.frombuffer(serialised(v), "uint8") for key, v in inputs.items()
            }
            calls.append((f"{name}: {what}", [tensor.name for tensor in signatures[name].outputs.values()]))
    np.savez(folder / "protos.npz", **protos)
    request = {"saved_model": str(directory), "runner": libtensorflow_run.__file__, "calls": calls}
    request["protos"] = str(folder / "protos.npz")
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    command = [sys.executable, "-P", __file__, str(folder / "request.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("answered ", "refused "))]
    lines += ["died"] * (len(calls) - len(lines))
    return {what: line for (what, _), line in zip(calls, lines, strict=True)}


def main() -> None:
    """Run the calls of a request, each with its feeds as bytes in an `.npz`."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    session = runpy.run_path(request["runner"])["Session"](request["saved_model"])
    with np.load(request["protos"]) as protos:
        for index, (what, fetches) in enumerate(request["calls"]):
            feeds = {
                key.partition("/")[2]: protos[key].tobytes() for key in protos.files if key.startswith(f"{index}/")
            }
            try:
                session.run(feeds, fetches)
                said = f"answered {what}"
            except RuntimeError as error:
                said = f"refused {what}: {' '.join(str(error).split())}"
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
