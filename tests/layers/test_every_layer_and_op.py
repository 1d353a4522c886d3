"""Every public layer and operator, and the operators below them, in unusual calls.

These are empty batches, a single step or no region, all dtype policies, integers, compilation by XLA, and threads. A
public layer or operator without an example in `EXAMPLES` fails the first test.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import keras
import numpy as np
import pytest
from harness import convolves_empty_batches
from keras import ops as keras_ops

from keras_segattn import layers, ops
from keras_segattn.ops.anchors import grid_anchors
from keras_segattn.ops.boxes import box_area, box_iou, clip_boxes, decode_boxes, encode_boxes
from keras_segattn.ops.crop_and_warp import crop_and_warp
from keras_segattn.ops.gradients import clip_gradient
from keras_segattn.ops.integral_images import integral_images
from keras_segattn.ops.levels import assign_levels
from keras_segattn.ops.masks import paste_masks
from keras_segattn.ops.nms import nms
from keras_segattn.ops.portable import portable_operators
from keras_segattn.ops.roi_align import roi_align
from keras_segattn.ops.roi_pool import roi_pool
from keras_segattn.ops.roi_warp import roi_warp

TENSORFLOW = keras.backend.backend() == "tensorflow"
# Keras warns of a softmax over a single location.
pytestmark = pytest.mark.filterwarnings("ignore:.*You are using a softmax over axis:UserWarning")
# Sums of some dozen float32 products of order 10, in another order.
TOLERANCE = 1e-3
# Base classes and other things that are no layers, and functions that take no tensors.
NO_CALLS = {"AttentionCell", "AttentionScore", "BilinearInitializer", "Memory", "ProjectedCell", "bilinear_kernel"}
CLASSES, SIDE = 3, 8


def floats(*shape):
    # Positive, so that integers of them are counts, scores and sizes too.
    return np.random.default_rng(sum(shape)).uniform(0.5, 4, shape).astype("float32")


def ids(*shape):
    return np.random.default_rng(sum(shape)).integers(0, CLASSES, shape).astype("int32")


def boxes(batch, count):
    corner = np.random.default_rng(count).uniform(0, SIDE / 2, (batch, count, 2))
    return np.concatenate([corner, corner + floats(batch, count, 2)], axis=-1).astype("float32")


def pictures(batch, side=SIDE, channels=2):
    return floats(batch, side, side, channels)


def grids(batch, count):
    return np.random.default_rng(count).uniform(-1, 1, (batch, count, 3, 2)).astype("float32")


def sizes(batch):
    return np.full((batch, 2), SIDE, "float32")


def regions(batch, count):
    """Inputs of `Detections`, which `VoteMasks` and `RefineRegions` have in part."""
    return {
        "logits": floats(batch, count, CLASSES),
        "deltas": floats(batch, count, 4 * CLASSES),
        "boxes": boxes(batch, count),
        "masks": floats(batch, count, 5, 5) / 4,
        "valid": np.ones((batch, count), "float32"),
        "sizes": sizes(batch),
        "count": np.full((batch,), count, "int32"),
    }


def proposals(batch, side):
    shapes = ((side, side, 2), (side, side, 8), (side * side * 2, 4))
    objectness, deltas = ([floats(batch, *shape), floats(batch, *shape)] for shape in shapes[:2])
    return objectness, deltas, [boxes(1, shapes[2][0])[0]] * 2, sizes(batch)


def wanted(batch, count, *names):
    found = regions(batch, count)
    return tuple(found[name] for name in names)


def attention(make):
    return make, lambda batch, n: (floats(batch, 4), floats(batch, n, 4), ids(batch, n) < 2)


def decoder(make):
    """Run a cell that attends, in the loop that it needs."""
    return (
        lambda **policy: layers.AttentionRNN(make(layers.AdditiveAttention(3, **policy), **policy), **policy),
        lambda batch, n: (floats(batch, n, 3), floats(batch, n, 4)),
    )


def crops(layer):
    return partial(layer, 2, [1.0, 0.5]), lambda batch, n: ([pictures(batch), pictures(batch, 4)], boxes(batch, n))


def crop_operator(operator):
    return partial(operator, output_size=2, scales=1.0), lambda batch, n: (pictures(batch), boxes(batch, n))


def sequences(layer):
    return layer, lambda batch, n: (floats(batch, n, 4),)


def localise(x):
    return keras.layers.GlobalAveragePooling2D(dtype="float32")(x)


# Name → what is called, and its inputs for a batch of so many examples of so many regions, steps or rows of pixels.
LAYERS = {
    "AddBias": sequences(layers.AddBias),
    "AdditiveAttention": attention(partial(layers.AdditiveAttention, 3, score_bias=True, key_layers=1)),
    "AnchorGenerator": (partial(layers.AnchorGenerator, (4, 8)), lambda batch, n: (pictures(batch, n),)),
    "AttentionGRUCell": decoder(lambda attention, **policy: layers.AttentionGRUCell(4, attention, **policy)),
    "AttentionLSTMCell": decoder(
        lambda attention, **policy: layers.AttentionLSTMCell(4, attention, selector="scalar", **policy)
    ),
    "AttentionRNN": decoder(lambda attention, **policy: layers.AttentionGRUCell(4, attention, **policy)),
    "AttentionRNNCell": decoder(
        lambda attention, **policy: layers.AttentionRNNCell(layers.ResetBeforeGRUCell(4, **policy), attention, **policy)
    ),
    "BatchStatistics": sequences(layers.BatchStatistics),
    "CIELab": (layers.CIELab, lambda batch, n: (pictures(batch, n, 3) / 4,)),
    "ClassMasks": (
        layers.ClassMasks,
        lambda batch, n: (floats(batch, n, 5, 5, CLASSES), ids(batch, n)),
    ),
    "CoordinateConcatenate": (
        partial(layers.CoordinateConcatenate, axis=1),
        lambda batch, n: ([boxes(batch, n), boxes(batch, n)],),
    ),
    "CoordinateDense": sequences(partial(layers.CoordinateDense, 6)),
    "CropAndWarp": (partial(layers.CropAndWarp, 6, 1), lambda batch, n: (pictures(batch), boxes(batch, n))),
    "CropToReference": (layers.CropToReference, lambda batch, n: (pictures(batch), pictures(batch, n))),
    "Detections": (
        partial(layers.Detections, 4),
        lambda batch, n: wanted(batch, n, "logits", "deltas", "boxes", "count", "sizes"),
    ),
    "DilatedConv2D": (partial(layers.DilatedConv2D, 4, 3, 5), lambda batch, n: (pictures(batch, n + 2),)),
    "DilatedMaxPooling2D": (partial(layers.DilatedMaxPooling2D, 2, 3), lambda batch, n: (pictures(batch, n + 3),)),
    "DotAttention": attention(layers.DotAttention),
    "Earlier": (layers.Earlier, lambda batch, n: (floats(batch, n, 4), floats(batch, 4))),
    "GeneralAttention": attention(layers.GeneralAttention),
    "GroupedConv2D": (
        partial(layers.GroupedConv2D, 4, 3, padding="same", groups=2),
        lambda batch, n: (pictures(batch, n),),
    ),
    "HardAttention": attention(lambda **policy: layers.HardAttention(layers.AdditiveAttention(3, **policy), **policy)),
    "ImagePyramid": (partial(layers.ImagePyramid, 3), lambda batch, n: (pictures(batch, n),)),
    "ImageSizes": (layers.ImageSizes, lambda batch, n: (pictures(batch, n),)),
    "InputFeedingCell": decoder(
        lambda attention, **policy: layers.InputFeedingCell(
            layers.AttentionLSTMCell(4, attention, **policy), 4, **policy
        )
    ),
    "Later": sequences(layers.Later),
    "LocalAttention": attention(lambda **policy: layers.LocalAttention(layers.DotAttention(**policy), **policy)),
    "LocalContrastNormalization": (
        partial(layers.LocalContrastNormalization, 3),
        lambda batch, n: (pictures(batch, n),),
    ),
    "LocalResponseNormalization": (layers.LocalResponseNormalization, lambda batch, n: (pictures(batch, n),)),
    "LocationAttention": attention(partial(layers.LocationAttention, 3, filters=2, width=3)),
    "MaskedSteps": (layers.MaskedSteps, lambda batch, n: ([floats(batch, n, 4), ids(batch, n) > 0],)),
    "Maxout": sequences(layers.Maxout),
    "MergeRegions": (layers.MergeRegions, lambda batch, n: (floats(batch, n, 3, 3, 2),)),
    "MonotonicAttention": attention(
        lambda **policy: layers.MonotonicAttention(layers.DotAttention(**policy), **policy)
    ),
    "NearestTexton": (partial(layers.NearestTexton, 5), lambda batch, n: (pictures(batch, n),)),
    "NotEqual": (partial(layers.NotEqual, 0), lambda batch, n: (ids(batch, n),)),
    "ObjectScores": (layers.ObjectScores, lambda batch, n: (pictures(batch, n, 6),)),
    "PasteMasks": (
        layers.PasteMasks,
        lambda batch, n: (*wanted(batch, n, "masks", "boxes"), pictures(batch)),
    ),
    "ProjectedRNN": sequences(lambda **policy: layers.ProjectedRNN(layers.ResetBeforeGRUCell(3, **policy), **policy)),
    "Proposals": (partial(layers.Proposals, 5, 6), proposals),
    "RecurrentBatchNormalization": sequences(partial(layers.RecurrentBatchNormalization, 2)),
    "RefineRegions": (
        layers.RefineRegions,
        lambda batch, n: wanted(batch, n, "boxes", "deltas", "logits", "sizes"),
    ),
    "ResetBeforeGRUCell": sequences(
        lambda **policy: keras.layers.RNN(layers.ResetBeforeGRUCell(3, **policy), **policy)
    ),
    "RGBToYUV": (layers.RGBToYUV, lambda batch, n: (pictures(batch, n, 3),)),
    "ResizeMask": (partial(layers.ResizeMask, 4), lambda batch, n: (pictures(batch, n),)),
    "Reverse": sequences(layers.Reverse),
    "RoIAlign": crops(layers.RoIAlign),
    "RoIPool": crops(layers.RoIPool),
    "RoIWarp": crops(layers.RoIWarp),
    "SpatialTransformer": (
        lambda **policy: layers.SpatialTransformer("affine", localise, (3, 4), **policy),
        lambda batch, n: (pictures(batch, n),),
    ),
    "SparseConv2D": (
        partial(layers.SparseConv2D, [(0, 2), (1, 2), (0, 1)], 3, padding="same"),
        lambda batch, n: (pictures(batch, n, 3),),
    ),
    "SplitRegions": (partial(layers.SplitRegions, 2), lambda batch, n: (floats(2 * batch, n, 4),)),
    "TakeRegion": (partial(layers.TakeRegion, 1), lambda batch, n: (floats(batch, 2, n, 4),)),
    "TextonFilters": (partial(layers.TextonFilters, 0.3), lambda batch, n: (pictures(batch, n, 3),)),
    "TextureLayout": (partial(layers.TextureLayout, CLASSES, 5, CLASSES), lambda batch, n: (ids(batch, n, 4),)),
    "TransposedConv2D": (
        partial(layers.TransposedConv2D, 3, 4, 2, padding=1),
        lambda batch, n: (pictures(batch, n),),
    ),
    "UniformAttention": attention(layers.UniformAttention),
    "Upsample": (partial(layers.Upsample, 2, "bilinear"), lambda batch, n: (pictures(batch, n),)),
    "ValidRegions": (partial(layers.ValidRegions, 3, 2), lambda batch, n: (np.full((batch,), n, "int32"),)),
    "VoteMasks": (
        partial(layers.VoteMasks, 4),
        lambda batch, n: wanted(batch, n, "logits", "boxes", "masks", "valid", "logits", "boxes"),
    ),
    "ZeroWhereNot": (layers.ZeroWhereNot, lambda batch, n: (floats(batch, n, 4), ids(batch, n) > 0)),
}
OPERATORS = {
    "affine_grid": (partial(ops.affine_grid, size=(3, 4)), lambda batch, _: (floats(batch, 2, 3),)),
    "assign_levels": (partial(assign_levels, lowest=2, highest=5), lambda batch, n: (boxes(batch, n),)),
    "attention_matrix": (ops.attention_matrix, lambda batch, _: (floats(batch, 3),)),
    "box_area": (box_area, lambda batch, n: (boxes(batch, n),)),
    "box_iou": (box_iou, lambda batch, n: (boxes(batch, n), boxes(batch, 2))),
    "clip_boxes": (clip_boxes, lambda batch, n: (boxes(batch, n), sizes(batch) / 2)),
    "clip_gradient": (partial(clip_gradient, limit=1.0), lambda batch, n: (boxes(batch, n),)),
    "crop_and_warp": (
        partial(crop_and_warp, output_size=5, padding=1, mode="square"),
        lambda batch, n: (pictures(batch), boxes(batch, n)),
    ),
    "decode_boxes": (decode_boxes, lambda batch, n: (floats(batch, n, 4), boxes(batch, n))),
    "dense_image_warp": (ops.dense_image_warp, lambda batch, n: (pictures(batch, n), floats(batch, n, n, 2) - 2)),
    "encode_boxes": (encode_boxes, lambda batch, n: (boxes(batch, n), boxes(batch, n) + 1)),
    "grid_anchors": (
        lambda x: grid_anchors(np.ones((2, 4), "float32"), *x.shape[1:3], 4),
        lambda batch, n: (pictures(batch, n),),
    ),
    "grid_sample": (ops.grid_sample, lambda batch, n: (pictures(batch), grids(batch, n))),
    "grid_sample, border": (
        partial(ops.grid_sample, padding="border", align_corners=False),
        lambda batch, n: (pictures(batch), grids(batch, n)),
    ),
    "grid_sample, nearest": (
        partial(ops.grid_sample, interpolation="nearest", padding="reflection"),
        lambda batch, n: (pictures(batch), grids(batch, n)),
    ),
    "integral_images": (lambda x: integral_images(x, CLASSES), lambda batch, n: (ids(batch, n, 4),)),
    "nms": (
        partial(nms, iou_threshold=0.5, max_output=4),
        lambda batch, n: (boxes(batch, n), floats(batch, n)),
    ),
    "paste_masks": (partial(paste_masks, height=SIDE, width=SIDE), lambda b, n: wanted(b, n, "masks", "boxes")),
    "projective_grid": (partial(ops.projective_grid, size=(3, 4)), lambda batch, _: (floats(batch, 3, 3),)),
    "resampler": (ops.resampler, lambda batch, n: (pictures(batch), floats(batch, n, 2))),
    "roi_align": crop_operator(partial(roi_align, sampling_ratio=1)),
    "roi_align, adaptive": crop_operator(partial(roi_align, sampling_ratio=0)),
    "roi_pool": crop_operator(roi_pool),
    "roi_warp": crop_operator(roi_warp),
    "rotation_matrix": (ops.rotation_matrix, lambda batch, _: (floats(batch, 1),)),
    "thin_plate_spline_grid": (
        partial(ops.thin_plate_spline_grid, size=(3, 4), points=(2, 2)),
        lambda batch, _: (floats(batch, 4, 2),),
    ),
}
EXAMPLES = LAYERS | OPERATORS
# Regions and points, of which there may be none.
MAY_BE_NONE = {
    "AnchorGenerator",
    "ClassMasks",
    "CoordinateConcatenate",
    "CropAndWarp",
    "CropToReference",
    "Detections",
    "ImageSizes",
    "MergeRegions",
    "PasteMasks",
    "Proposals",
    "RefineRegions",
    "RoIAlign",
    "RoIPool",
    "RoIWarp",
    "VoteMasks",
    *OPERATORS,
}
# Further layers that compute with pixels, which users have as integers.
READ_PIXELS = {
    "AddBias",
    "BatchStatistics",
    "CoordinateDense",
    "DilatedConv2D",
    "DilatedMaxPooling2D",
    "GroupedConv2D",
    "ImagePyramid",
    "LocalContrastNormalization",
    "LocalResponseNormalization",
    "Maxout",
    "RGBToYUV",
    "ResizeMask",
    "SparseConv2D",
    "SpatialTransformer",
    "SplitRegions",
    "TakeRegion",
    "TransposedConv2D",
    "Upsample",
    "ValidRegions",
}
# Tracing or compiling each of the others takes up to some seconds, and so do calls on JAX, which compiles every
# operator for every shape and dtype.
QUICKLY_TRACED = {"AttentionRNN", "Detections", "RoIAlign", "grid_sample"}
QUICKLY_COMPILED = {"AddBias", "grid_sample", "roi_align"}

# Layers around a convolution of Keras.
CONVOLUTIONS = {"DilatedConv2D", "GroupedConv2D", "SparseConv2D"}

# One of each kind that threads share: a layer with weights, a loop of cells, a layer without weights, an operator.
THREADED = {"AdditiveAttention", "AttentionRNN", "RoIAlign", "grid_sample"}


def slow(*values):
    return [pytest.param(value, marks=pytest.mark.thorough) for value in values]


def slow_on_jax(*values):
    return [pytest.param(value, marks=pytest.mark.slow_on_jax) for value in values]


def made(name, policy="float32"):
    make, inputs = EXAMPLES[name]
    return (make(dtype=policy) if name in LAYERS else make), inputs


def numbers(found):
    return [keras_ops.convert_to_numpy(keras_ops.cast(x, "float32")) for x in keras.tree.flatten(found)]


def described(name, function, inputs):
    """Shapes and dtypes of the outputs as a layer or, for an operator, its call on float32 describes them."""
    if name not in LAYERS:
        return None
    symbolic = keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape, x.dtype.name), inputs)
    return [(tuple(x.shape), x.dtype) for x in keras.tree.flatten(function(*symbolic))]


def outcome(found):
    return [(tuple(x.shape), keras.backend.standardize_dtype(x.dtype)) for x in keras.tree.flatten(found)]


def in_a_graph(function, inputs, **options):
    """Compile a call for a batch of any size."""
    import tensorflow as tf

    shapes = keras.tree.map_structure(lambda x: tf.TensorSpec((None, *x.shape[1:]), x.dtype), inputs)
    return tf.function(function, input_signature=shapes, **options)


@pytest.fixture
def portable():
    """Leave out TensorFlow's own kernels, one of which is compiled for each shape of pictures."""
    with portable_operators():
        yield


def test_every_public_layer_and_operator_has_an_example():
    assert {*layers.__all__, *ops.__all__} - NO_CALLS - set(EXAMPLES) == set()


@pytest.mark.parametrize("name", slow_on_jax(*EXAMPLES))
def test_an_empty_batch_gives_an_empty_result(name):
    function, inputs = made(name)
    one = outcome(function(*inputs(1, 2)))
    found = outcome(function(*inputs(0, 2)))
    expected = described(name, function, inputs(0, 2))
    assert expected is None or found == expected
    # Outputs without a batch axis, such as anchors, are those of any batch.
    assert all(a == b or a == ((0, *b[0][1:]), b[1]) or a[0][0] == 0 for a, b in zip(found, one, strict=True))


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.slow_on_jax
def test_a_single_step_or_no_region(name):
    for count in (0, 1) if name in MAY_BE_NONE else (1,):
        function, inputs = made(name)
        found = function(*inputs(2, count))
        expected = described(name, function, inputs(2, count))
        assert expected is None or outcome(found) == expected
        assert all(np.isfinite(x).all() for x in numbers(found))


@pytest.mark.skipif(not TENSORFLOW, reason="shapes are known when JAX traces a function")
@pytest.mark.parametrize("name", [*sorted(QUICKLY_TRACED), *slow(*sorted(set(EXAMPLES) - QUICKLY_TRACED))])
def test_a_graph_takes_empty_batches_and_no_region(name):
    if name in CONVOLUTIONS and not convolves_empty_batches():
        pytest.skip("a graph cannot tell that a batch is empty, which this processor convolves to another shape")
    function, inputs = made(name)
    function(*inputs(1, 2))
    for count in (0, 2) if name in MAY_BE_NONE else (2,):
        traced = in_a_graph(function, inputs(2, count))
        for batch in (0, 2):
            found, expected = traced(*inputs(batch, count)), function(*inputs(batch, count))
            assert outcome(found) == outcome(expected)
            for a, b in zip(numbers(found), numbers(expected), strict=True):
                np.testing.assert_allclose(a, b, atol=TOLERANCE)


# JAX has no float64 unless the process asks for it.
FLOAT64 = pytest.param("float64", marks=pytest.mark.one_backend)


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize("policy", [*slow_on_jax("mixed_bfloat16"), FLOAT64, *slow("mixed_float16", "float16")])
@pytest.mark.parametrize("name", LAYERS)
def test_the_dtype_is_the_promised_one(name, policy):
    layer, inputs = made(name, policy)
    assert outcome(layer(*inputs(2, 3))) == described(name, layer, inputs(2, 3))
    changed, _ = made(name)
    changed(*inputs(2, 3))
    # Keras does not cast weights between policies that are not mixed.
    if policy.startswith("mixed") or not changed.weights:
        for part in changed._flatten_layers():
            part.dtype_policy = policy
        assert outcome(changed(*inputs(2, 3))) == described(name, changed, inputs(2, 3))


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize("dtype", [*slow_on_jax("bfloat16"), FLOAT64, *slow("float16")])
@pytest.mark.parametrize("name", OPERATORS)
def test_operators_take_every_floating_dtype(name, dtype):
    function, inputs = made(name)
    halves = keras.tree.map_structure(lambda x: keras_ops.cast(x, dtype) if x.dtype.kind == "f" else x, inputs(2, 3))
    expected = numbers(function(*keras.tree.map_structure(lambda x: keras_ops.cast(x, "float32"), halves)))
    for a, b in zip(numbers(function(*halves)), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2**-6, atol=TOLERANCE)


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize("dtype", [*slow_on_jax("uint8"), *slow("int64")])
@pytest.mark.parametrize("name", sorted(MAY_BE_NONE | READ_PIXELS))
def test_integers_give_what_equal_floats_give(name, dtype):
    function, inputs = made(name)
    whole = keras.tree.map_structure(lambda x: x.astype(dtype), inputs(2, 3))
    expected = keras.tree.map_structure(lambda x, y: x.astype(y.dtype), whole, inputs(2, 3))
    for a, b in zip(numbers(function(*whole)), numbers(function(*expected)), strict=True):
        np.testing.assert_allclose(a, b, atol=TOLERANCE)


@pytest.mark.skipif(not TENSORFLOW, reason="XLA compiles everything on JAX")
@pytest.mark.parametrize("name", [*sorted(QUICKLY_COMPILED), *slow(*sorted(set(EXAMPLES) - QUICKLY_COMPILED))])
def test_xla_compiles_it(name):
    import tensorflow as tf

    function, inputs = made(name)
    expected = numbers(function(*inputs(2, 3)))
    compiled = tf.function(function, jit_compile=True)
    for a, b in zip(numbers(compiled(*inputs(2, 3))), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=TOLERANCE)


@pytest.mark.parametrize("name", [*sorted(THREADED), *slow(*sorted(set(EXAMPLES) - THREADED))])
@pytest.mark.slow_on_jax
def test_threads_do_not_disturb_each_other(name):
    function, inputs = made(name)
    batches = [inputs(batch, 3) for batch in (1, 2, 3, 4)]
    expected = [numbers(function(*batch)) for batch in batches]
    with ThreadPoolExecutor(len(batches)) as threads:
        found = list(threads.map(lambda batch: numbers(function(*batch)), batches))
    for result, alone in zip(found, expected, strict=True):
        for a, b in zip(result, alone, strict=True):
            np.testing.assert_array_equal(a, b)
