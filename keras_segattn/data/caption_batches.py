"""From pictures, or what a trunk made of them, and captions to the batches that captioners are trained on."""

from collections.abc import Callable, Sequence

import numpy as np

from keras_segattn.data.sequence_batches import Batch, IdPair, SequenceBatches


class CaptionBatches(SequenceBatches):
    """Batches of captions of about one length, and their pictures: for `fit`, or to iterate over.

    As the captions of a batch are sorted by length, little of it is padding (Xu et al. 2015, section 4.3). A batch is a
    pair of dicts of arrays:

    * inputs: `image` as `read` gives it, `(B, height, width, 3)`; `target` int32 `(B, T)`, its beginning, then the
      caption
    * targets: `logits` int32 `(B, T)`, the caption, then its end; 0 counts nothing. `attention`, the same, is what
      `losses.DoublyStochastic` wants, and without that loss unused

    Args:
        captions: for every picture a list of captions, each a list of ids without beginning and end.
        read: gives the arrays of pictures, whose places among the captions it gets as int64 `(B,)`; an array's own
            `__getitem__` will do.
        batch_size, longest, buckets, multiple, shuffle, seed, workers: as `SequenceBatches`.
        name: of the input: `"annotations"` if `read` gives what a trunk made of the pictures.

    Raises:
        ValueError: if an argument is wrong, a caption is empty, nothing is left, or, of a batch, if what was read is
            not finite.

    Example:
        >>> batches = CaptionBatches(captions, features.__getitem__, batch_size=64, shuffle=True, name="annotations")
        >>> model.fit(batches, epochs=20)
    """

    def __init__(
        self,
        captions: Sequence[Sequence[Sequence[int]]],
        read: Callable[[np.ndarray], np.ndarray],
        batch_size: int = 64,
        *,
        longest: int = 50,
        buckets: int = 20,
        multiple: int = 1,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 1,
        name: str = "image",
    ) -> None:
        super().__init__(
            [([picture], caption) for picture, said in enumerate(captions) for caption in said],
            batch_size,
            longest=longest,
            buckets=buckets,
            multiple=multiple,
            shuffle=shuffle,
            seed=seed,
            workers=workers,
        )
        self.read, self.name = read, name

    def batch(self, pairs: Sequence[IdPair]) -> Batch:
        """Arrays of these pictures' places and captions."""
        inputs, targets = super().batch(pairs)
        places = np.array([place for (place,), _ in pairs])
        pictures = np.asarray(self.read(places))
        if pictures.dtype.kind == "f":
            finite = np.isfinite(pictures).reshape(len(places), -1).all(axis=1)
            if not finite.all():
                wrong = np.unique(places[~finite]).tolist()
                raise ValueError(f"expected finite {self.name}, received NaN or infinity in those of pictures {wrong}")
        return {self.name: pictures, "target": inputs["target"]}, targets | {"attention": targets["logits"]}
