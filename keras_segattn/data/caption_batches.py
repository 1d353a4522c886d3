"""Training batches for captioners, from captions and pictures or the features that a backbone computed from them."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from keras_segattn.data.sequence_batches import Batch, IdPair, SequenceBatches


class CaptionBatches(SequenceBatches):
    """Batches of captions of about one length, and their pictures: for `fit`, or to iterate over.

    As captions are sorted by length before they are cut into batches, little of a batch is padding (Xu et al. 2015,
    section 4.3). A batch is a pair of dicts of arrays:

    * inputs: `image` as `read` returns it, `(B, height, width, 3)`; `target` int32 `(B, T)`, the id that begins a
      sentence, then the caption
    * targets: `logits` int32 `(B, T)`, the caption, then the id that ends a sentence; 0 is padding and does not count.
      `attention` holds the same array, which `losses.DoublyStochastic` and Keras' metrics need

    Args:
        captions: list of captions of every picture, each a list of ids without beginning and end.
        read: function from int64 `(B,)`, the indices of pictures in `captions`, to the array of these pictures, such as
            an array's own `__getitem__`.
        batch_size, longest, buckets, multiple, shuffle, seed, workers, outputs: arguments of `SequenceBatches`.
        name: name of the input, `"annotations"` if `read` returns the features that a backbone computed.

    Raises:
        ValueError: if an argument is wrong, a caption is empty or no caption is left; for a batch, if what `read`
            returned differs in shape or is not finite.

    Example:
        >>> batches = CaptionBatches(captions, features.__getitem__, batch_size=64, shuffle=True, name="annotations")
        >>> model.fit(batches, epochs=20)
    """

    sentences: ClassVar[tuple[int, ...]] = (1,)  # the other side of a pair is the index of a picture

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
        outputs: Sequence[str] = ("logits", "attention"),
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
            outputs=outputs,
        )
        self.read, self.name = read, name

    def batch(self, pairs: Sequence[IdPair]) -> Batch:
        """Return the batch of pairs, each of a picture's index (in a list) and a caption."""
        inputs, targets = super().batch(pairs)
        places = np.array([place for (place,), _ in pairs])
        pictures = self.read(places)
        if len({np.shape(picture) for picture in pictures}) != 1 or len(pictures) != len(places):
            found = ", ".join(sorted({str(np.shape(picture)) for picture in pictures}))
            raise ValueError(
                f"expected read to return {len(places)} {self.name} of one shape for pictures {places.tolist()}, "
                f"received {len(pictures)} of {found}"
            )
        pictures = np.asarray(pictures)
        if pictures.dtype.kind == "f":
            finite = np.isfinite(pictures).reshape(len(places), -1).all(axis=1)
            if not finite.all():
                wrong = np.unique(places[~finite]).tolist()
                raise ValueError(f"expected finite {self.name}, received NaN or infinity in those of pictures {wrong}")
        return {self.name: pictures, "target": inputs["target"]}, targets
