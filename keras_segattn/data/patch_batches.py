"""Training batches of patches, each with the class of its centre pixel."""

import tensorflow as tf

from keras_segattn.arguments import check_positive_integer
from keras_segattn.data.augmentation import check_integer
from keras_segattn.data.mask_batches import MaskBatches


class PatchBatches:
    """Patches around random labelled pixels: a function of the epoch's number, like `MaskBatches`.

    Every labelled pixel of a picture is equally probable, so that classes are not balanced. Pictures are padded by
    zeros, which is the mean colour once they are preprocessed. A picture without any labelled pixel gives patches of
    the ignored label, which do not count.

    Args:
        pictures: batches of whole pictures, which are read, checked, changed and shuffled there.
        size: height and width of a patch in pixels, odd.
        count: number of patches from every picture; a batch has this number times the pictures' `batch_size`.
        seed: seed of the places.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> pictures = MaskBatches(folder("images", "masks"), batch_size=4, classes=11, size=(180, 240), shuffle=True)
        >>> batches = PatchBatches(pictures, patch_size("rcnn3", 3), count=16)
        >>> for patch, mask in batches(0): ...
    """

    def __init__(self, pictures: MaskBatches, size: int, *, count: int = 1, seed: int = 0) -> None:
        check_positive_integer("size", size)
        if size % 2 == 0:
            raise ValueError(f"a patch needs a centre pixel: size must be odd, received {size}")
        check_positive_integer("count", count)
        check_integer("seed", seed)
        self.pictures, self.size, self.count, self.seed = pictures, size, count, seed
        self.batch_size, self.shuffle = pictures.batch_size * count, pictures.shuffle

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self.pictures)

    def __call__(self, epoch: int | tf.Tensor) -> tf.data.Dataset:
        """Return the batches of one epoch.

        Args:
            epoch: number from 0 up, an integer or a scalar integer tensor.

        Returns:
            Data set of `(patch, mask)`: float32 `(batch, size, size, channels)`, preprocessed, and int32
            `(batch, 1, 1)`, the labels of the centre pixels.

        Raises:
            tf.errors.InvalidArgumentError: while iterating, in the cases of `MaskBatches`.
        """
        epoch = tf.cast(epoch, tf.int64)
        batches = self.pictures(epoch).enumerate()
        patches = batches.map(
            lambda index, batch: self._sample(batch, tf.stack([self.seed * 1_000_003 + epoch, index])),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return patches.apply(tf.data.experimental.assert_cardinality(len(self))).prefetch(tf.data.AUTOTUNE)

    def _sample(self, batch: tuple[tf.Tensor, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Cut out `count` patches of every picture."""
        image, mask = batch
        ignored = self.pictures.ignore_label
        counted = tf.ones_like(mask, tf.bool) if ignored is None else mask != ignored
        # Pixels that do not count are drawn only where there are no others.
        flat = tf.reshape(counted, (tf.shape(mask)[0], -1))
        places = tf.random.stateless_categorical(tf.where(flat, 0.0, -1e9), self.count, seed)
        pictures = tf.repeat(tf.range(tf.shape(mask)[0]), self.count)
        width = tf.cast(tf.shape(mask)[2], tf.int64)
        rows, columns = (tf.cast(tf.reshape(n, (-1,)), tf.int32) for n in (places // width, places % width))
        margin = [self.size // 2] * 2
        padded = tf.pad(image, [[0, 0], margin, margin, [0, 0]])

        def cut(place: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
            picture, row, column = place
            return padded[picture, row : row + self.size, column : column + self.size]

        patches = tf.map_fn(cut, (pictures, rows, columns), fn_output_signature=image.dtype)
        labels = tf.gather_nd(mask, tf.stack([pictures, rows, columns], axis=-1))
        patches = tf.ensure_shape(patches, (None, self.size, self.size, image.shape[-1]))
        return patches, labels[:, None, None]
