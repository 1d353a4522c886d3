import time

import numpy as np
import pytest
import tensorflow as tf

from keras_segattn import Picture
from keras_segattn.data import Augmentation, MaskBatches


def source(count=7, size=(12, 16), labels=3, dtype="uint8"):
    rng = np.random.default_rng(0)
    return tf.data.Dataset.from_tensor_slices(
        {
            "image": rng.integers(0, 255, (count, *size, 3)).astype(dtype),
            "segmentation_mask": rng.integers(0, labels, (count, *size, 1)).astype("uint8"),
            "file_name": [f"picture_{i}" for i in range(count)],
        }
    )


def arrays(dataset):
    return [(x.numpy(), y.numpy()) for x, y in dataset]


def equal(a, b):
    return all(np.array_equal(x, u) and np.array_equal(y, v) for (x, y), (u, v) in zip(a, b, strict=True))


def test_shapes_types_and_length():
    batches = MaskBatches(source(), batch_size=3, classes=3, size=(6, 8))
    assert len(batches) == 3
    image, mask = arrays(batches(0))[0]
    assert image.shape == (3, 6, 8, 3)
    assert image.dtype == np.float32
    assert mask.shape == (3, 6, 8)
    assert mask.dtype == np.int32
    assert [len(x) for x, _ in arrays(batches(0))] == [3, 3, 1]
    whole = MaskBatches(source(), batch_size=3, classes=3, drop_remainder=True)
    assert len(whole) == len(arrays(whole(0))) == 2
    assert batches(0).cardinality() == 3


@pytest.mark.parametrize("size", [(5, 7), (29, 41)])
@pytest.mark.parametrize("axis", [1, 2])
def test_masks_are_resized_to_the_nearest_label_where_the_image_is_sampled(size, axis):
    def striped(features):
        mask = tf.cumsum(tf.ones((12, 16, 1), tf.int32), axis=axis - 1) // 3 % 2 * 2  # stripes of 0 and 2
        return {**features, "segmentation_mask": tf.cast(mask, tf.uint8), "image": tf.repeat(mask, 3, -1)}

    ((image, mask),) = arrays(MaskBatches(source(2).map(striped), batch_size=2, classes=3, size=size)(0))
    assert set(np.unique(mask)) == {0, 2}
    # The nearest of two stripes has at least half of the bilinear weight; float32 coordinates.
    assert np.abs(image[..., 0] - mask).max() <= 1 + 1e-3


def test_preprocessing_is_applied():
    raw, cooked = (
        arrays(MaskBatches(source(), batch_size=7, classes=3, preprocessing=p)(0))[0][0]
        for p in (None, Picture("BGR", mean=(1.0, 2.0, 3.0)))
    )
    np.testing.assert_allclose(cooked, raw[..., ::-1] - [1, 2, 3], atol=1e-4)


def test_an_epoch_is_a_function_of_its_number():
    options = {"batch_size": 2, "classes": 3, "shuffle": True, "augmentation": Augmentation(crop=(8, 8))}
    first, second = MaskBatches(source(), **options), MaskBatches(source(), **options)
    third = arrays(first(3))
    assert equal(third, arrays(second(3)))
    assert equal(third, arrays(first(tf.constant(3))))
    assert not equal(third, arrays(first(4)))
    assert not equal(third, arrays(MaskBatches(source(), **options, seed=1)(3)))


def test_epochs_can_be_chained_in_one_data_set():
    batches = MaskBatches(source(), batch_size=2, classes=3, shuffle=True)
    chained = arrays(tf.data.Dataset.range(1, 3).flat_map(batches))
    assert equal(chained, arrays(batches(1)) + arrays(batches(2)))


def test_tensorflows_own_seed_does_not_matter():
    batches = MaskBatches(source(), batch_size=4, classes=3, shuffle=True, augmentation=Augmentation(crop=(8, 8)))
    tf.random.set_seed(1)
    first = arrays(batches(3))
    tf.random.set_seed(2)
    assert equal(first, arrays(batches(3)))


def test_the_order_holds_although_the_source_allows_any():
    def slow_at_first(image):
        def wait(x):
            time.sleep(0.05 if x[0, 0, 0] == 0 else 0)
            return x

        return tf.ensure_shape(tf.numpy_function(wait, [tf.cast(image, tf.float32)], tf.float32), (12, 16, 3))

    options = tf.data.Options()
    options.deterministic = False
    options.experimental_optimization.map_and_batch_fusion = False  # the fused form happens to keep the order
    numbered = source(16).enumerate().map(lambda i, f: {**f, "image": tf.fill((12, 16, 3), i % 8)})
    batches = MaskBatches(numbered.with_options(options), batch_size=16, classes=3, preprocessing=slow_at_first)
    ((image, _),) = arrays(batches(0))
    np.testing.assert_array_equal(image[:, 0, 0, 0], [*range(8)] * 2)


def test_shuffling_keeps_every_picture():
    batches = MaskBatches(source(), batch_size=7, classes=3, shuffle=True)
    plain = MaskBatches(source(), batch_size=7, classes=3)
    a, b = (arrays(x(0))[0][0] for x in (batches, plain))
    assert not np.array_equal(a, b)
    assert sorted(a.sum(axis=(1, 2, 3))) == sorted(b.sum(axis=(1, 2, 3)))


def test_a_label_out_of_range_names_the_file():
    batches = MaskBatches(source(labels=5), batch_size=1, classes=3)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"picture_0.*holds label.*4.*expected 0..2"):
        arrays(batches(0))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_image_that_is_not_finite_names_the_file(bad):
    def spoil(features):
        image = tf.where(features["file_name"] == "picture_2", bad, features["image"])
        return {**features, "image": image}

    batches = MaskBatches(source(dtype="float32").map(spoil), batch_size=1, classes=3)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"picture_2.*holds NaN or infinity"):
        arrays(batches(0))


def test_the_ignored_label_passes():
    ignored = source().map(lambda f: {**f, "segmentation_mask": tf.fill((12, 16, 1), tf.constant(255, tf.uint8))})
    with pytest.warns(UserWarning, match="hold no labels but"):
        assert (arrays(MaskBatches(ignored, batch_size=7, classes=3)(0))[0][1] == 255).all()
    with pytest.raises(tf.errors.InvalidArgumentError, match="holds label"):
        arrays(MaskBatches(ignored, batch_size=7, classes=3, ignore_label=None)(0))


def labelled(*labels, dtype=tf.uint8):
    """Return pictures of which each row has one of the labels."""
    mask = tf.constant([labels[row % len(labels)] for row in range(12)], dtype)[:, None, None] + tf.zeros(
        (12, 16, 1), dtype
    )
    return source().map(lambda f: {**f, "segmentation_mask": mask})


@pytest.mark.parametrize(("labels", "ignore_label"), [((0, 255), 255), ((255,), 255), ((1, 255), 255), ((0, 1), 1)])
def test_a_class_that_is_ignored_in_bulk_is_told(labels, ignore_label):
    message = (
        rf"masks of picture_0 and 6 other pictures hold no labels but .* the ignored label {ignore_label} \(.*palette="
    )
    with pytest.warns(UserWarning, match=message):
        MaskBatches(labelled(*labels), batch_size=7, classes=2, ignore_label=ignore_label)


@pytest.mark.parametrize(("labels", "ignore_label"), [((0, 1, 255), 255), ((0,), 255), ((0, 1), None)])
def test_masks_of_which_something_is_left_are_no_concern(labels, ignore_label):
    MaskBatches(labelled(*labels), batch_size=7, classes=2, ignore_label=ignore_label)  # warnings are errors here


@pytest.mark.parametrize("label", [2**32 + 1, -(2**32), 2**31])
def test_labels_are_checked_before_they_are_cut_to_32_bits(label):
    batches = MaskBatches(labelled(0, 1, label, dtype=tf.int64), batch_size=1, classes=2)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"picture_0.*holds label.*expected 0\.\.1.*palette"):
        arrays(batches(0))


@pytest.mark.parametrize("options", [{}, {"shuffle": True, "preprocessing": Picture()}])
def test_pictures_of_one_batch_that_differ_in_size_are_named(options):
    def cut(features):
        height = tf.where(features["file_name"] == "picture_2", 11, 12)
        parts = {key: features[key][:height] for key in ("image", "segmentation_mask")}
        return {**features, **parts}

    batches = MaskBatches(source().map(cut), batch_size=7, classes=3, **options)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)differ in .*picture_.*\[1[12] 16 3\].*give size="):
        arrays(batches(0))
    assert [image.shape[1] for image, _ in arrays(MaskBatches(source().map(cut), batch_size=1, classes=3)(0))][2] == 11


@pytest.mark.parametrize("options", [{"size": (4, 4)}, {"augmentation": Augmentation((4, 4))}, {}])
def test_a_mask_of_another_size_names_the_file(options):
    cropped = source().map(lambda f: {**f, "segmentation_mask": f["segmentation_mask"][:, :10]})
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"mask of.*picture_0.*\[12 10\].*image.*\[12 16\]"):
        arrays(MaskBatches(cropped, batch_size=1, classes=3, **options)(0))


def replaced(**features):
    return source().map(lambda f: {**f, **{key: change(f[key]) for key, change in features.items()}})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (replaced(image=lambda x: x[..., 0]), r"image must be numbers of \(height, width, channels\), received"),
        (
            replaced(segmentation_mask=lambda x: x[..., 0]),
            r"segmentation_mask must be integers of \(height, width, 1\)",
        ),
        (replaced(segmentation_mask=lambda x: tf.repeat(x, 3, -1)), "segmentation_mask must be integers"),
        (replaced(segmentation_mask=lambda x: tf.cast(x, tf.float32)), "segmentation_mask must be integers"),
        (replaced(file_name=tf.strings.length), "file_name must be one string"),
        (tf.data.Dataset.from_tensors((1, 2)), "expected a data set of features by name"),
        ([1, 2], r"expected a data set of features by name, received \[1, 2\]"),
    ],
)
def test_features_of_another_form_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        MaskBatches(data, batch_size=1, classes=3)


@pytest.mark.parametrize("ignore_label", [None, 7])
def test_padding_must_be_ignored(ignore_label):
    options = {"batch_size": 7, "classes": 3, "ignore_label": ignore_label}
    with pytest.raises(ValueError, match="pads masks with label 255, which would count"):
        MaskBatches(source(), **options, augmentation=Augmentation((40, 40)))
    if ignore_label is not None:
        padded = MaskBatches(source(), **options, augmentation=Augmentation((40, 40), ignore_label=ignore_label))
        assert set(np.unique(arrays(padded(0))[0][1])) == {0, 1, 2, ignore_label}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaskBatches(source(), batch_size=0, classes=3), "batch_size must be a positive integer"),
        (lambda: MaskBatches(source().take(0), batch_size=1, classes=3), "the data set is empty"),
        (
            lambda: MaskBatches(source().filter(lambda f: f["image"][0, 0, 0] >= 0), batch_size=1, classes=3),
            "must have a known length",
        ),
        (
            lambda: MaskBatches(source().map(lambda f: {"image": f["image"]}), batch_size=1, classes=3),
            r"lacks the features \['file_name', 'segmentation_mask'\]",
        ),
        (
            lambda: MaskBatches(source(), batch_size=1, classes=3, size=(4, 4), augmentation=Augmentation((4, 4))),
            "not both",
        ),
        (lambda: MaskBatches(source(3), batch_size=4, classes=3, drop_remainder=True), "no whole batch of 4"),
        (lambda: MaskBatches(source(), batch_size=1, classes=3, size=4), r"size must be \(height, width\), received 4"),
        (
            lambda: MaskBatches(source(), batch_size=1, classes=3, size=(4, 0)),
            "size height and width must be a positive",
        ),
        (lambda: MaskBatches(source(), batch_size=1, classes=3, seed=0.5), r"seed must be an integer, received 0\.5"),
        (
            lambda: MaskBatches(source(), batch_size=1, classes=3, ignore_label="void"),
            "ignore_label must be an integer, received 'void'",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
