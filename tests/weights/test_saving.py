import keras
import numpy as np
import pytest
import safetensors.numpy

import keras_segattn
from keras_segattn import layers, weights
from keras_segattn.attention import convolutional_localisation


@pytest.mark.parametrize("suffix", [".weights.h5", ".safetensors"])
def test_round_trip_replaces_an_older_file(tmp_path, suffix):
    arguments = dict(keras_segattn.model_card("FCN8s").tiny)
    source, target = keras_segattn.FCN8s(**arguments), keras_segattn.FCN8s(**arguments)
    path = tmp_path / f"fcn{suffix}"
    path.write_bytes(b"older")
    assert weights.save(source, path) == path
    assert list(tmp_path.iterdir()) == [path]
    report = weights.load(target, path)
    assert report.complete
    for ours, theirs in zip(target.weights, source.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_safetensors_say_their_layout(network, tmp_path):
    weights.save(network, tmp_path / "net.safetensors")
    with safetensors.safe_open(tmp_path / "net.safetensors", framework="numpy") as file:
        assert file.metadata() == {"keras_segattn.layout": "keras"}
        assert file.get_tensor("conv1.kernel").shape == (3, 3, 3, 4)
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    safetensors.numpy.save_file(tensors, tmp_path / "net.safetensors", {"keras_segattn.layout": "nchw"})
    with pytest.raises(weights.WeightsError, match="found 'nchw'"):
        weights.load(network, tmp_path / "net.safetensors")


@pytest.mark.parametrize("suffix", [".weights.h5", ".safetensors"])
def test_failed_save_leaves_the_older_file(network, tmp_path, monkeypatch, suffix):
    def fail(*_arguments, **_options):
        raise OSError("no space left on device")

    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"older")
    monkeypatch.setattr("keras.Model.save_weights", fail)
    monkeypatch.setattr("safetensors.numpy.save_file", fail)
    with pytest.raises(OSError, match="no space"):
        weights.save(network, path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"older"


def test_bad_destinations(network, tmp_path):
    with pytest.raises(ValueError, match=r"ending in \.weights\.h5 or \.safetensors, received 'net\.h5'"):
        weights.save(network, tmp_path / "net.h5")
    with pytest.raises(FileNotFoundError, match="expected a folder"):
        weights.save(network, tmp_path / "none" / "net.safetensors")


class Pair(keras.layers.Layer):
    """Layer of two dense layers, a nameless weight, a scalar and a layer that another one shares."""

    def __init__(self, shared=None, **kwargs):
        super().__init__(**kwargs)
        self.second, self.first = keras.layers.Dense(3), keras.layers.Dense(3)
        self.shared = shared or keras.layers.Dense(3, name="shared")

    def build(self, shape):
        for layer in (self.first, self.second, self.shared):
            if not layer.built:
                layer.build(shape)
        self.nameless = [self.add_weight(shape=(3,)), self.add_weight(shape=(3,))]
        self.temperature = self.add_weight(shape=(), name="temperature")

    def call(self, x):
        return self.shared(self.first(x) + self.second(x) * self.temperature + self.nameless[0] - self.nameless[1])


class Subclassed(keras.Model):
    """Model of layers, also in a list and a dict, of a functional model, a metric and a weight of its own."""

    def __init__(self):
        super().__init__()
        self.embedding = Pair(name="embedding")
        self.blocks = [keras.Sequential([keras.layers.Dense(3), keras.layers.BatchNormalization()]) for _ in range(2)]
        self.heads = {"b": keras.layers.Dense(3), "a": keras.layers.Dense(3)}
        self.decoder = Pair(shared=self.embedding)
        self.backbone = backbone_and_head()
        self.score = keras.metrics.Mean()
        self.scale = self.add_weight(shape=(3,), name="scale")

    def call(self, x):
        x = self.embedding(x)
        for block in self.blocks:
            x = block(x)
        x = self.decoder(self.heads["a"](x) + self.heads["b"](x)) * self.scale
        return self.backbone(x)


def backbone():
    vector = keras.Input((3,))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(3)(vector))
    return keras.Model(vector, keras.layers.Dense(3, name="last")(x))


def backbone_and_head():
    vector = keras.Input((3,))
    return keras.Model(vector, keras.layers.Dense(3)(backbone()(backbone()(vector))))


def three_deep():
    vector = keras.Input((3,))
    return keras.Model(vector, keras.Sequential([backbone_and_head(), Pair()])(vector))


def wrappers():
    steps = keras.Input((4, 3))
    x = keras.layers.TimeDistributed(backbone())(steps)
    x = keras.layers.Bidirectional(keras.layers.GRU(2, return_sequences=True))(x)
    x = keras.layers.Bidirectional(keras.layers.LSTM(2, return_sequences=True))(x)
    x = keras.layers.RNN([keras.layers.GRUCell(4), keras.layers.GRUCell(4)], return_sequences=True)(x)
    x = keras.layers.MultiHeadAttention(2, 3)(x, x)
    return keras.Model(steps, keras.layers.SpectralNormalization(keras.layers.Dense(2))(x))


def sequential():
    return keras.Sequential([keras.Input((6, 6, 2)), *(keras.layers.Conv2D(2, 3, padding="same") for _ in range(12))])


def localisation():
    digit = keras.Input((28, 28, 1))
    return keras.Model(digit, layers.SpatialTransformer("affine", convolutional_localisation)(digit)[0])


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 3), "float32"))
    return model


NESTINGS = (backbone_and_head, three_deep, wrappers, sequential, localisation, subclassed)


def randomised(model):
    generator = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(generator.standard_normal(variable.shape))
    return model


def assert_restored(source, target, path):
    """Assert that a file of the weights of `source` restores them in `target`, which has other values."""
    assert weights.load(target, path).complete
    for ours, theirs in zip(target.weights, source.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=theirs.path)


def assert_same_function(ours, theirs):
    """Keras may list the weights of a loaded model in another order."""
    x = np.random.default_rng(1).standard_normal((2, *theirs.input_shape[1:]), "float32")
    np.testing.assert_array_equal(ours(x), theirs(x))


@pytest.mark.parametrize("build", NESTINGS)
@pytest.mark.parametrize("suffix", [".weights.h5", ".safetensors"])
def test_models_inside_models_round_trip(tmp_path, build, suffix):
    """The second model has other automatic names of layers than the first one, as in another program."""
    source = randomised(build())
    path = weights.save(source, tmp_path / f"net{suffix}")
    assert_restored(source, build(), path)
    if suffix == ".safetensors":
        assert len(safetensors.numpy.load_file(path)) == len(source.weights)


@pytest.mark.parametrize("build", [backbone_and_head, three_deep, wrappers, localisation])
@pytest.mark.parametrize("suffix", [".weights.h5", ".safetensors"])
def test_models_after_load_model_round_trip(tmp_path, build, suffix):
    source = randomised(build())
    source.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras", {"Pair": Pair})
    fresh = build()
    assert weights.load(fresh, weights.save(again, tmp_path / f"net{suffix}")).complete
    assert_same_function(fresh, source)
    again.set_weights([np.zeros(variable.shape) for variable in again.weights])
    assert weights.load(again, weights.save(source, tmp_path / f"net{suffix}")).complete
    assert_same_function(again, source)


def test_a_layer_takes_no_tensor_of_another_with_its_automatic_name(tmp_path):
    """The first layer of the target is named like the second one of the source."""

    def build(*biases):
        return keras.Sequential([keras.Input((3,)), *(keras.layers.Dense(3, use_bias=bias) for bias in biases)])

    path = weights.save(randomised(build(False, True)), tmp_path / "net.safetensors")
    keras.utils.clear_session()
    keras.layers.Dense(1)
    target = build(True, True)
    assert [layer.name for layer in target.layers] == ["dense_1", "dense_2"]
    report = weights.load(target, path, partial=True)
    assert (report.missing, report.unexpected) == (("dense_1.bias",), ())
    assert [match.source for match in report.matched] == ["dense.kernel", "dense_1.kernel", "dense_1.bias"]


def test_equal_names_are_refused_when_saving(tmp_path):
    vector = keras.Input((3,))
    pair = Pair(shared=keras.layers.Dense(3, name="dense"))
    pair.first.name = pair.second.name = "dense"
    with pytest.raises(ValueError, match=r"different names .* two variables 'pair\.dense/kernel'"):
        weights.save(keras.Model(vector, pair(vector)), tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_model_that_is_not_built_is_refused(tmp_path, network):
    with pytest.raises(ValueError, match="'subclassed' has none yet, or not all: call it"):
        weights.save(Subclassed(), tmp_path / "net.safetensors")
    path = weights.save(network, tmp_path / "net.safetensors")
    with pytest.raises(weights.WeightsError, match=r"'subclassed_1' has none yet, or not all: call it"):
        weights.load(Subclassed(), path)


def test_normalisation_uses_what_is_loaded(tmp_path):
    """Keras derives the numbers that `Normalization` uses from its weights."""

    def build(*values):
        vector = keras.Input((1,))
        layer = keras.layers.Normalization(name="normalisation")
        layer.adapt(np.array(values)[:, None])
        return keras.Model(vector, layer(vector))

    source, target = build(1.0, 2.0, 6.0), build(0.0, 1.0)
    assert weights.load(target, weights.save(source, tmp_path / "net.safetensors")).complete
    assert_same_function(target, source)


@pytest.mark.parametrize("card", keras_segattn.list_models())
@pytest.mark.thorough
def test_every_card_round_trips(tmp_path, card):
    card = keras_segattn.model_card(card)
    source, target = randomised(card.builder(**card.tiny)), card.builder(**card.tiny)
    for suffix in (".weights.h5", ".safetensors"):
        target.set_weights([np.zeros(variable.shape) for variable in target.weights])
        assert_restored(source, target, weights.save(source, tmp_path / f"net{suffix}"))
