"""FCN-32s, 16s and 8s are as Long et al. and their release describe them."""

import keras
import numpy as np
import pytest
from harness import images, randomise, without_weights
from keras import ops

from keras_segattn import VGG16, FCN8s, FCN16s, FCN32s, get_model, list_models, model_card, preprocessing_of, weights
from keras_segattn.layers import BilinearInitializer
from keras_segattn.segmentation import fcn, initialize_from

# Two bilinear steps differ from one near borders only; inside, only rounding differs, by the order of float32 sums.
FLOAT32_TOLERANCE = 1e-5
NARROW = {"alpha": 0.03125, "classes": 3}
BACKBONES = [n for n in list_models("classification") if {8, 16} <= {t.stride for t in model_card(n).taps.values()}]
# Small ones, each with layers and paddings of its own.
QUICK = {"AlexNet", "EfficientNetLite0", "GoogLeNet", "SqueezeNet1_1"}


def test_sizes_of_the_release_at_500_pixels():
    with without_weights():
        model, middle, coarse = (b(input_shape=(500, 500, 3), **NARROW) for b in (FCN8s, FCN16s, FCN32s))
    sizes = {
        "block1_conv1": 698,
        "block1_pool": 349,
        "block2_pool": 175,
        "block3_pool": 88,
        "block4_pool": 44,
        "block5_pool": 22,
        "fc6": 16,
        "fc7": 16,
        "score_fr": 16,
        "upscore2": 34,
        "upscore_pool4": 70,
        "upscore8": 568,
        "score": 500,
    }
    assert {name: model.get_layer(name).output.shape[1] for name in sizes} == sizes
    assert middle.get_layer("upscore16").output.shape[1] == 560
    assert coarse.get_layer("upscore").output.shape[1] == 544


@pytest.mark.parametrize(
    ("builder", "with_deconvolution", "without"),
    [(FCN32s, 136_152_917, 134_346_581), (FCN16s, 134_815_994, 134_357_354), (FCN8s, 134_489_759, 134_362_751)],
)
def test_parameter_table(builder, with_deconvolution, without):
    with without_weights():
        model = builder(input_shape=(500, 500, 3))
    assert model.count_params() == with_deconvolution
    deconvolution = sum(layer.count_params() for layer in model.layers if layer.name.startswith("upscore"))
    assert with_deconvolution - deconvolution == without


@pytest.mark.parametrize(
    "builder",
    [pytest.param(FCN32s, marks=pytest.mark.thorough), pytest.param(FCN16s, marks=pytest.mark.thorough), FCN8s],
)
def test_every_size_from_one_pixel_up_fits(builder):
    for size in (*range(1, 36), 223, 224, 500, 501):
        with without_weights():
            model = builder(input_shape=(size, size + 1, 3), **NARROW)
        assert model.output_shape == (None, size, size + 1, 3)


@pytest.mark.parametrize(
    ("builder", "backbone"),
    [
        *(pytest.param(FCN8s, name, marks=() if name in QUICK else pytest.mark.thorough) for name in BACKBONES),
        (FCN32s, "ResNet18"),
    ],
)
def test_every_backbone_carries_the_heads(builder, backbone):
    model = builder(backbone=backbone, **NARROW)
    randomise(model)
    for height, width in ((1, 1), (33, 50), (64, 32)):
        y = ops.convert_to_numpy(model(images((height, width, 3), batch=1)))
        assert y.shape == (1, height, width, 3)
        assert np.isfinite(y).all()


def test_backbone_without_the_strides_is_refused():
    with pytest.raises(ValueError, match="needs a backbone with taps at strides 8, 16 and 32, FCN8s declares"):
        FCN8s(backbone="fcn8s")
    with pytest.raises(ValueError, match="unknown model 'resnet9000'"):
        FCN8s(backbone="resnet9000")


def test_untrained_network_scores_zero_and_upsampling_is_bilinear():
    model = FCN8s(input_shape=(40, 40, 3), **NARROW)
    assert np.abs(ops.convert_to_numpy(model(images((40, 40, 3))))).max() == 0
    kernel = model.get_layer("upscore8").get_weights()[0]
    assert kernel.shape == (16, 16, 3, 3)
    assert kernel[7:9, 7:9, 0, 0].min() == kernel.max() == pytest.approx((15 / 16) ** 2)


@pytest.mark.parametrize("backbone", ["vgg16", "squeezenet1_1"])
def test_constant_scores_stay_constant_inside(backbone):
    model = FCN32s(input_shape=(96, 96, 3), backbone=backbone, **NARROW)
    model.get_layer("score_fr").set_weights(
        [np.zeros_like(model.get_layer("score_fr").get_weights()[0]), np.array([1.0, -2.0, 3.0])]
    )
    y = ops.convert_to_numpy(model(images((96, 96, 3))))[:, 40:56, 40:56]
    np.testing.assert_allclose(y, np.broadcast_to([1.0, -2.0, 3.0], y.shape), rtol=FLOAT32_TOLERANCE)


@pytest.mark.parametrize("learn", [True, False])
def test_upsampling_is_learnt_only_on_request(learn):
    with without_weights():
        model = FCN8s(learn_upsampling=learn, **NARROW)
    trained = {weight.path for weight in model.trainable_weights}
    for name in ("upscore2", "upscore_pool4", "upscore8"):
        assert (f"{name}/kernel" in trained) is learn


@pytest.mark.parametrize("backbone", ["vgg16", "squeezenet1_1"])
def test_stages_start_from_unchanged_predictions(backbone):
    x = images((80, 64, 3))
    coarse = FCN32s(backbone=backbone, input_shape=(80, 64, 3), **NARROW)
    randomise(coarse)
    for layer in coarse.layers:
        if layer.name == "upscore":
            layer.set_weights([BilinearInitializer()((64, 64, 3, 3))])
    middle = FCN16s(backbone=backbone, input_shape=(80, 64, 3), **NARROW)
    copied = initialize_from(middle, coarse)
    assert "score_fr" in copied
    assert "score_pool4" not in copied

    # The fused map is exactly the 2× deconvolution of the coarse scores, wherever both overlap.
    maps = keras.Model(middle.input, [middle.get_layer(n).output for n in ("upscore2", "fuse_pool4")])(x)
    up, fused = (ops.convert_to_numpy(m) for m in maps)
    offset = 1 if backbone == "squeezenet1_1" else 0
    np.testing.assert_array_equal(fused, up[:, offset:, offset:][:, : fused.shape[1], : fused.shape[2]])
    # Two bilinear steps are not quite one: the predictions agree closely, not exactly.
    a, b = (ops.convert_to_numpy(m(x)) for m in (coarse, middle))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.98

    fine = FCN8s(backbone=backbone, input_shape=(80, 64, 3), **NARROW)
    assert {"score_fr", "score_pool4", "upscore2"} <= set(initialize_from(fine, middle))
    assert np.corrcoef(b.ravel(), ops.convert_to_numpy(fine(x)).ravel())[0, 1] > 0.98


def test_stages_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="'score_fr' has shapes"):
        initialize_from(FCN16s(alpha=0.03125, classes=4), FCN32s(**NARROW))
    with pytest.raises(ValueError, match="share no score layer"):
        initialize_from(FCN16s(**NARROW), get_model("vgg16", include_top=False, alpha=0.03125))


def test_at_once_is_a_rescaling_of_the_score_kernels():
    x = images((48, 48, 3))
    staged = FCN8s(input_shape=(48, 48, 3), **NARROW)
    at_once = FCN8s(input_shape=(48, 48, 3), at_once=True, **NARROW)
    randomise(at_once)
    initialize_from(staged, at_once)
    for name, factor in (("score_pool4", 0.01), ("score_pool3", 0.0001)):
        kernel, bias = at_once.get_layer(name).get_weights()
        staged.get_layer(name).set_weights([factor * kernel, bias])
    a, b = (ops.convert_to_numpy(m(x)) for m in (at_once, staged))
    assert np.abs(a - b).max() / np.abs(b).max() < FLOAT32_TOLERANCE


def test_without_the_top_the_output_is_fc7():
    with without_weights():
        model = FCN8s(include_top=False, input_shape=(32, 32, 3), **NARROW)
    assert model.output_shape == (None, 2, 2, 128)


def test_preprocessing_of_the_release():
    red = np.zeros((1, 2, 2, 3), "uint8")
    red[..., 0] = 255
    y = ops.convert_to_numpy(fcn.preprocess_input(red))
    np.testing.assert_allclose(y[0, 0, 0], [-104.00699, -116.66877, 255 - 122.67892], rtol=1e-6)


def test_classifier_file_fills_the_network_without_its_top(tmp_path):
    classifier = VGG16(alpha=0.03125, classes=7)
    randomise(classifier)
    weights.save(classifier, tmp_path / "vgg16.safetensors")
    model = FCN8s(include_top=False, weights=tmp_path / "vgg16.safetensors", alpha=0.03125)
    # Both see one 7×7 map: the convolution is the dense layer (section 3.1).
    x = images((7, 7, 16), batch=1)
    fc6 = keras.Sequential([keras.Input((7, 7, 16)), model.get_layer("fc6"), model.get_layer("fc7")])
    fc1 = keras.Sequential(
        [keras.Input((7, 7, 16)), keras.layers.Flatten(), *map(classifier.get_layer, ("fc1", "fc2"))]
    )
    a, b = (ops.convert_to_numpy(m(x)) for m in (fc6, fc1))
    assert np.abs(a.ravel() - b.ravel()).max() / b.max() < FLOAT32_TOLERANCE
    assert preprocessing_of(model) == fcn.PREPROCESSING
