"""What both export profiles begin with: the model in float32, checked and folded, and endpoints of known sizes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from keras_segattn.endpoints import Endpoint, Spec
from keras_segattn.export.archive import as_float32, check_signatures, compiled, tensor_specs
from keras_segattn.export.checks import check_finite, check_statistics
from keras_segattn.export.folding import fold_affine
from keras_segattn.facts import Facts, endpoints_of, facts_of
from keras_segattn.fields import Field, Picture, Vectors
from keras_segattn.tasks import closeness, task_of

Sizes = Mapping[str, tuple[int, ...]]
# What open sizes are tried with: height and width of a picture, tokens of a sentence.
USUAL_PICTURE, USUAL_LENGTH = (224, 224), 7


@dataclass(frozen=True)
class Prepared:
    """A model that is ready to be written.

    Args:
        model: the network in float32, as it was given.
        folded: the same with batch normalisation folded in, which is what is written.
        facts: what the stored model will say about itself.
        endpoints: signature → endpoint of `model`, what a written file is compared with; the default one first.
        written: the same of `folded`.
    """

    model: keras.Model
    folded: keras.Model
    facts: Facts
    endpoints: Mapping[str, Endpoint]
    written: Mapping[str, Endpoint]

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights that are written."""
        return sum(weight.value.numpy().nbytes for weight in self.folded.weights)

    def kind(self, name: str, spec: Spec) -> Field:
        """The kind of values that an input of an endpoint takes."""
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
        model: the network.
        facts: what is known of it; `None` asks the model.
        endpoints: signature → endpoint, instead of those of the model's card.
        sizes: input → height and width of a picture, or length of a sentence, where the model leaves them open.
        batch: size of the batch; `None` leaves it open, and all other sizes that nobody gives.

    Raises:
        ValueError: if a size contradicts the model, or is missing where the batch is fixed; or if there are no
            endpoints, or signatures cannot have their names.
        ExportError: if the model holds NaN or normalises by the batch.
    """
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
        both, folded = (dict(endpoints_of(one, facts)) for one in (model, network))
    ours, theirs = (settled(some, sizes or {}, batch) for some in (both, folded))
    return Prepared(model, network, facts, ours, theirs)


def settled(endpoints: Mapping[str, Endpoint], sizes: Sizes, batch: int | None) -> dict[str, Endpoint]:
    """Endpoints with the sizes they were given, and with the inputs that they take from another endpoint."""
    known = {name for endpoint in endpoints.values() for name in endpoint.inputs}
    if strange := set(sizes) - known:
        raise ValueError(f"sizes are of the inputs {sorted(known)}, received some of {sorted(strange)}")
    found: dict[str, Endpoint] = {}
    for name, endpoint in endpoints.items():
        inputs = {key: sized(key, spec, sizes.get(key), batch) for key, spec in endpoint.inputs.items()}
        if endpoint.follows is not None:
            inputs |= outputs_as_inputs(found[endpoint.follows])
        found[name] = replace(endpoint, inputs=inputs)
    # One endpoint under two names stays one, so that its graph is written once.
    places: dict[int, str] = {}
    for name, endpoint in endpoints.items():
        places.setdefault(id(endpoint), name)
    return {name: found[places[id(endpoint)]] for name, endpoint in endpoints.items()}


def sized(name: str, spec: Spec, given: tuple[int, ...] | None, batch: int | None) -> Spec:
    """An input with the sizes that it was given, which may leave out the last ones.

    Raises:
        ValueError: if they contradict the model's own, or one is missing where the batch is fixed.
    """
    own = tuple(spec.shape[1:])
    if given is not None:
        wanted = (*given, *own[len(given) :])
        positive = all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in given)
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
    """The outputs of an endpoint, as inputs of the one that follows it."""
    import tensorflow as tf

    traced = tf.function(endpoint.function, [tensor_specs(endpoint)], autograph=False).get_concrete_function()
    batch = next(iter(endpoint.inputs.values())).shape[0]
    return {
        name: Spec((batch, *tensor.shape[1:]), tensor.dtype.name) for name, tensor in traced.structured_outputs.items()
    }


def drawn(
    prepared: Prepared, batch: int, seed: int, *, pixels: bool, smaller: bool = False
) -> dict[str, dict[str, Any]]:
    """Plausible inputs for every endpoint: by the kinds of the inputs, and what the endpoint before gave.

    Args:
        prepared: the model.
        batch: number of examples.
        seed: seed of the draw.
        pixels: whether pictures stay as pixels instead of being normalised.
        smaller: whether pictures of open size are smaller than usual, to try another size.

    Returns:
        Signature → input → array.
    """
    found: dict[str, dict[str, Any]] = {}
    runs: dict[str, Callable[..., Any]] = {}
    for signature, endpoint in prepared.endpoints.items():
        before: dict[str, Any] = {}
        if endpoint.follows is not None:
            given = prepared_values(prepared, endpoint.follows, found[endpoint.follows], pixels)
            before = runs.setdefault(endpoint.follows, compiled(prepared.endpoints[endpoint.follows]))(given)
        found[signature] = {
            name: before[name] if name in before else value_of(prepared, name, spec, batch, seed, pixels, smaller)
            for name, spec in endpoint.inputs.items()
        }
    return found


def value_of(
    prepared: Prepared, name: str, spec: Spec, batch: int, seed: int, pixels: bool, smaller: bool
) -> np.ndarray:
    """Plausible values of one input."""
    kind = prepared.kind(name, spec)
    shape = (batch, *usual_sizes(kind, spec.shape[1:], smaller))
    values = kind.draw(shape, seed)
    if not pixels:
        values = keras.ops.convert_to_numpy(kind.prepare(values))
    return values if pixels and isinstance(kind, Picture) else values.astype(spec.dtype)


def usual_sizes(kind: Field, own: tuple[int | None, ...], smaller: bool) -> tuple[int, ...]:
    """The sizes of an input to try it with, where they are open."""
    usual: tuple[int, ...] = (USUAL_LENGTH,) * len(own)
    if isinstance(kind, Picture) or len(own) == 3:
        height, width = (kind.size if isinstance(kind, Picture) else None) or USUAL_PICTURE
        usual = (height * 3 // 4, width * 2 // 3, 3) if smaller else (height, width, 3)
    return tuple(size or other for size, other in zip(own, usual, strict=True))


def prepared_values(prepared: Prepared, signature: str, values: Mapping[str, Any], pixels: bool) -> dict[str, Any]:
    """Drawn values as the network takes them."""
    if not pixels:
        return dict(values)
    specs = prepared.endpoints[signature].inputs
    return {
        name: keras.ops.convert_to_numpy(prepared.kind(name, specs[name]).prepare(value))
        for name, value in values.items()
    }


def comparison_of(facts: Facts | None) -> closeness.Compare:
    """How answers are compared with those expected, by what they mean."""
    return closeness.compare if facts is None or facts.task is None else task_of(facts.task).compare
