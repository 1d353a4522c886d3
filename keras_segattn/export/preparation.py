"""Preparation of a model for both export formats: float32, checks, folding, and endpoints with settled sizes."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_segattn.arguments import is_integer
from keras_segattn.endpoints import Endpoint, Spec, of_each
from keras_segattn.export.archive import as_float32, check_signatures, compiled, tensor_specs
from keras_segattn.export.checks import check_finite, check_statistics
from keras_segattn.export.folding import fold_affine
from keras_segattn.export.report import ExportError
from keras_segattn.facts import Facts, FactsError, endpoints_of, facts_of, holds_facts, read_facts
from keras_segattn.fields import Field, Picture, Vectors
from keras_segattn.graph import functional
from keras_segattn.tasks import closeness, task_of

Sizes = Mapping[str, tuple[int, ...]]
# Sizes that replace open ones in trial inputs: height and width of a picture, tokens of a sentence.
USUAL_PICTURE, USUAL_LENGTH = (224, 224), 7


@dataclass(frozen=True)
class Prepared:
    """A model that is ready to be written.

    Args:
        model: given model in float32; written files are compared with it.
        folded: `model` with batch normalisation folded in; this is written.
        facts: facts to store with the model.
        endpoints: signature → endpoint of `model`, the default one first.
        written: signature → endpoint of `folded`, in the same order.
    """

    model: keras.Model
    folded: keras.Model
    facts: Facts
    endpoints: Mapping[str, Endpoint]
    written: Mapping[str, Endpoint]

    @property
    def weight_bytes(self) -> int:
        """Number of bytes of the weights that are written."""
        return sum(weight.value.numpy().nbytes for weight in self.folded.weights)

    @functools.cached_property
    def references(self) -> dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        """Signature → compiled function of `model`, which is traced at its first call only."""
        return of_each(self.endpoints, lambda _, endpoint: compiled(endpoint))

    def kind(self, name: str, spec: Spec) -> Field:
        """Return the kind of an endpoint's input; `Vectors` if the facts do not say it."""
        return self.facts.inputs.get(spec.like or name, Vectors())


def prepared(
    model: keras.Model,
    facts: Facts | None,
    endpoints: Mapping[str, Endpoint] | None,
    sizes: Sizes | None,
    *,
    batch: int | None,
) -> Prepared:
    """Check a model, fold it, and settle the sizes of its endpoints.

    Args:
        model: functional model, or a `Sequential` that begins with `keras.Input`; with `facts` and `endpoints` any
            Keras model.
        facts: facts about the model; `None` takes those that the model itself knows.
        endpoints: signature → endpoint, instead of those of the model's card.
        sizes: input → (height, width) of a picture, or (length,) of a sentence, where the model leaves them open.
        batch: size of the batch, which also requires all other sizes to be known; `None` leaves the batch open, and
            all other sizes that are not given.

    Raises:
        TypeError: if the model is a subclassed one, and its facts or endpoints are not given.
        ValueError: if a size contradicts the model, or is missing although `batch` is given; or if `endpoints` is
            empty, or a name in it cannot be the name of a signature.
        ExportError: if the model holds NaN or normalises by the batch.
    """
    if facts is None or endpoints is None:
        model = functional(model)
    facts = facts_of(model) if facts is None else facts
    model = as_float32(model)
    check_finite(model)
    check_statistics(model)
    if endpoints is not None:
        check_signatures(endpoints)
        both = folded = dict(endpoints)
        network = model
    else:
        network = fold_affine(model)
        both = dict(endpoints_of(model, facts))
        folded = both if network is model else dict(endpoints_of(network, facts))
    inputs = settled_inputs(both, sizes or {}, batch)
    return Prepared(model, network, facts, with_inputs(both, inputs), with_inputs(folded, inputs))


def settled_inputs(endpoints: Mapping[str, Endpoint], sizes: Sizes, batch: int | None) -> dict[str, Mapping[str, Spec]]:
    """Return signature → inputs with the given sizes, and with those that the endpoint takes from another one."""
    known = {name for endpoint in endpoints.values() for name in endpoint.inputs}
    if strange := set(sizes) - known:
        raise ValueError(f"sizes are of the inputs {sorted(known)}, received some of {sorted(strange)}")
    found: dict[str, Mapping[str, Spec]] = {}
    for name, endpoint in endpoints.items():
        inputs = {key: sized(key, spec, sizes.get(key), batch) for key, spec in endpoint.inputs.items()}
        if (before := endpoint.follows) is not None:
            inputs |= outputs_as_inputs(replace(endpoints[before], inputs=found[before]))
        found[name] = inputs
    return found


def with_inputs(endpoints: Mapping[str, Endpoint], inputs: Mapping[str, Mapping[str, Spec]]) -> dict[str, Endpoint]:
    """Return the endpoints with other inputs; one with two names stays one object, to be written once."""
    return of_each(endpoints, lambda name, endpoint: replace(endpoint, inputs=inputs[name]))


def sized(name: str, spec: Spec, given: tuple[int, ...] | None, batch: int | None) -> Spec:
    """Return an input with the given sizes; the last ones, such as the channels, may be left out.

    Raises:
        ValueError: if a size contradicts the model's own, or is missing although `batch` is given.
    """
    own = tuple(spec.shape[1:])
    if given is not None:
        wanted = (*given, *own[len(given) :])
        positive = all(is_integer(n) and n > 0 for n in given)
        if len(wanted) != len(own) or not positive or any(b not in (None, a) for a, b in zip(wanted, own, strict=True)):
            raise ValueError(f"sizes[{name!r}] must fit the model's {own}, received {tuple(given)}")
        own = wanted
    elif batch is not None and spec.usual is not None:
        own = tuple(size if size is not None else usual for size, usual in zip(own, spec.usual, strict=True))
    if batch is not None and None in own:
        raise ValueError(
            f"a .tflite has static sizes, and input {name!r} is {own}; give sizes={{{name!r}: (…)}}: height and width "
            "of a picture, length of a sentence"
        )
    return spec._replace(shape=(batch, *own))


def outputs_as_inputs(endpoint: Endpoint) -> dict[str, Spec]:
    """Return the outputs of an endpoint as inputs of the endpoint that follows it."""
    import tensorflow as tf

    traced = tf.function(endpoint.function, [tensor_specs(endpoint)], autograph=False).get_concrete_function()
    batch = next(iter(endpoint.inputs.values())).shape[0]
    return {
        name: Spec((batch, *tensor.shape[1:]), tensor.dtype.name) for name, tensor in traced.structured_outputs.items()
    }


def drawn(
    prepared: Prepared, batch: int, seed: int, *, pixels: bool, smaller: bool = False
) -> dict[str, dict[str, Any]]:
    """Draw plausible inputs for every endpoint, by the kinds of the inputs.

    An endpoint that follows another one gets the outputs of that one.

    Args:
        prepared: prepared model.
        batch: number of examples.
        seed: seed of the random numbers.
        pixels: whether pictures stay as pixels instead of being normalised.
        smaller: whether pictures of open size are smaller than usual, to try another size.

    Returns:
        Signature → input → array.
    """
    found: dict[str, dict[str, Any]] = {}
    for signature, endpoint in prepared.endpoints.items():
        before: dict[str, Any] = {}
        if endpoint.follows is not None:
            given = prepared_values(prepared, endpoint.follows, found[endpoint.follows], pixels)
            before = prepared.references[endpoint.follows](given)
        found[signature] = {
            name: before[name] if name in before else value_of(prepared, name, spec, batch, seed, pixels, smaller)
            for name, spec in endpoint.inputs.items()
        }
    return found


def value_of(
    prepared: Prepared, name: str, spec: Spec, batch: int, seed: int, pixels: bool, smaller: bool
) -> np.ndarray:
    """Draw plausible values of one input; see `drawn`."""
    kind = prepared.kind(name, spec)
    shape = (batch, *usual_sizes(kind, spec.shape[1:], smaller))
    values = kind.draw(shape, seed)
    if not pixels:
        values = keras.ops.convert_to_numpy(kind.prepare(values))
    return values if pixels and isinstance(kind, Picture) else values.astype(spec.dtype)


def usual_sizes(kind: Field, own: tuple[int | None, ...], smaller: bool) -> tuple[int, ...]:
    """Return the sizes of an input, with usual ones where they are open; `smaller` reduces those of pictures."""
    usual: tuple[int, ...] = (USUAL_LENGTH,) * len(own)
    if isinstance(kind, Picture) or len(own) == 3:
        height, width = (kind.size if isinstance(kind, Picture) else None) or USUAL_PICTURE
        usual = (height * 3 // 4, width * 2 // 3, 3) if smaller else (height, width, 3)
    return tuple(size or other for size, other in zip(own, usual, strict=True))


def prepared_values(prepared: Prepared, signature: str, values: Mapping[str, Any], pixels: bool) -> dict[str, Any]:
    """Return drawn values as the network takes them: normalised, if they are pixels."""
    if not pixels:
        return dict(values)
    specs = prepared.endpoints[signature].inputs
    return {
        name: keras.ops.convert_to_numpy(prepared.kind(name, specs[name]).prepare(value))
        for name, value in values.items()
    }


def facts_in(path: Path) -> Facts | None:
    """Read the facts of a stored model; `None` if there are none.

    Raises:
        ExportError: if the facts are damaged.
    """
    try:
        return read_facts(path) if holds_facts(path) else None
    except FactsError as error:
        raise ExportError(f"{path}: {error}") from error


def comparison_of(facts: Facts | None) -> closeness.Compare:
    """Return the function that compares outputs with expected ones: the task's own if the task is known."""
    return closeness.compare if facts is None or facts.task is None else task_of(facts.task).compare
