import numpy as np
import pytest
import tensorflow as tf

from keras_segattn.data import MaskBatches, PatchBatches

HEIGHT, WIDTH, IGNORED = 5, 7, 255


def pictures(mask, batch_size=2, **options):
    """Return batches of pictures whose pixels hold their own place, counted from 1, and the number of the picture."""
    places = np.stack(np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), indexing="ij"), axis=-1) + 1
    image = np.stack([np.dstack([places, np.full((HEIGHT, WIDTH), n)]) for n in range(len(mask))])
    source = tf.data.Dataset.from_tensor_slices(
        {
            "image": image.astype("uint8"),
            "segmentation_mask": np.asarray(mask, "uint8")[..., None],
            "file_name": [f"picture_{n}" for n in range(len(mask))],
        }
    )
    return MaskBatches(source, batch_size=batch_size, classes=4, ignore_label=IGNORED, **options)


def masks(count=3):
    mask = np.random.default_rng(0).integers(0, 4, (count, HEIGHT, WIDTH))
    mask[:, :2] = IGNORED
    return mask


def arrays(dataset):
    return [(x.numpy(), y.numpy()) for x, y in dataset]


def test_patches_are_those_around_labelled_pixels():
    mask, size, count = masks(), 9, 20
    batches = PatchBatches(pictures(mask), size, count=count)
    assert len(batches) == 2
    found = arrays(batches(0))
    assert [(x.shape, y.shape) for x, y in found] == [((n * count, size, size, 3), (n * count, 1, 1)) for n in (2, 1)]
    whole = [(x, y) for x, y in arrays(pictures(mask)(0)) for x, y in zip(x, y, strict=True)]
    seen = set()
    for index, (patch, label) in enumerate((p, y) for x, y in found for p, y in zip(x, y, strict=True)):
        assert patch.dtype == np.float32
        assert label.dtype == np.int32
        image, labels = whole[index // count]
        row, column, picture = patch[size // 2, size // 2].astype(int) - (1, 1, 0)
        assert picture == index // count
        assert label == labels[row, column] != IGNORED
        padded = np.pad(image, [[size // 2] * 2, [size // 2] * 2, [0, 0]])
        np.testing.assert_array_equal(patch, padded[row : row + size, column : column + size])
        seen.add((picture, row, column))
    assert len(seen) > count


def test_an_epoch_is_a_function_of_its_number():
    def centres(epoch, **options):
        batches = PatchBatches(pictures(masks(), shuffle=True), 1, count=6, **options)
        return np.concatenate([x.reshape(-1, 3) for x, _ in arrays(batches(epoch))])

    np.testing.assert_array_equal(centres(3), centres(tf.constant(3)))
    assert (centres(3) != centres(4)).any()
    assert (centres(3) != centres(3, seed=1)).any()


def test_a_picture_without_labels_gives_ignored_patches():
    mask = masks(2)
    mask[1] = IGNORED
    with_labels, without = np.split(arrays(PatchBatches(pictures(mask), 3, count=4)(0))[0][1], 2)
    assert (with_labels != IGNORED).all()
    assert (without == IGNORED).all()


def test_no_label_is_ignored():
    batches = MaskBatches(pictures(np.zeros((1, HEIGHT, WIDTH))).source, batch_size=1, classes=1, ignore_label=None)
    ((_, labels),) = arrays(PatchBatches(batches, 3, count=40)(0))
    assert (labels == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 8}, "a patch needs a centre pixel: size must be odd, received 8"),
        ({"size": 0}, "size must be a positive integer, received 0"),
        ({"size": 9, "count": 0}, "count must be a positive integer, received 0"),
        ({"size": 9, "seed": 0.5}, "seed must be an integer, received 0.5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        PatchBatches(pictures(masks()), **arguments)
