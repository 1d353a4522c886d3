"""Training batches for sequence models, from pairs of lists of token ids."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.data.epochs import EpochDataset
from keras_segattn.fields import BOS, EOS, PAD, UNK

# The greatest int32.
LARGEST = 2**31 - 1
IdPair = tuple[Sequence[int], Sequence[int]]
Batch = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


class SequenceBatches(EpochDataset):
    """Batches of sentences of about one length (Bahdanau et al. 2015, appendix B): for `fit`, or to iterate over.

    Each epoch, pairs are taken `buckets` batches at a time, sorted by length and cut into batches, so that little of a
    batch is padding. A batch is a pair of dicts of arrays:

    * inputs: `source` int32 `(B, S)`, the sentence, the id that ends it, then padding; `target` int32 `(B, T)`, the id
      that begins a sentence, then the sentence
    * targets: `logits` int32 `(B, T)`, the sentence, then the id that ends it: the token that follows each of `target`;
      0 is padding and does not count. `attention` holds the same array, since Keras' metrics need a target per output

    Args:
        pairs: ids of source and target, without beginning and end.
        batch_size: number of pairs per batch; the last batches of an epoch may be smaller.
        longest: greatest number of tokens on a side; longer pairs are left out with a warning, and the attribute
            `left_out` counts them.
        buckets: number of batches that are sorted together.
        multiple: number to whose multiples S and T are rounded up, so that there are few shapes to compile.
        shuffle: whether each epoch has an order of its own.
        seed: seed of the order, which is a function of it and of the attribute `epoch`, see `EpochDataset`.
        workers: number of threads that make batches ahead.
        outputs: names of the model's outputs, each of which gets the target.

    Raises:
        ValueError: if an argument is wrong, a side of a pair is empty, holds no ids or holds an id of padding,
            beginning or end (0 to 2), or nothing is left.

    Example:
        >>> batches = SequenceBatches(pairs, batch_size=80, longest=50, shuffle=True)
        >>> model.fit(batches, epochs=5)
    """

    sentences: ClassVar[tuple[int, ...]] = (0, 1)  # places in a pair that hold sentences

    def __init__(
        self,
        pairs: Sequence[IdPair],
        batch_size: int = 80,
        *,
        longest: int = 50,
        buckets: int = 20,
        multiple: int = 1,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 1,
        outputs: Sequence[str] = ("logits", "attention"),
    ) -> None:
        super().__init__(workers=workers)
        for name, value in (("batch_size", batch_size), ("longest", longest), ("buckets", buckets)):
            check_positive_integer(name, value)
        check_positive_integer("multiple", multiple)
        check_choice("shuffle", shuffle, (True, False))
        if isinstance(outputs, str) or not isinstance(outputs, Sequence) or "logits" not in outputs:
            raise ValueError(f"outputs must be a list of names with 'logits' among them, received {outputs!r}")
        for index, (source, target) in enumerate(pairs):
            if not (are_ids(source) and are_ids(target)):
                raise ValueError(f"pair {index}: expected ids of tokens, received {source!r:.100} and {target!r:.100}")
            if not len(source) or not len(target):
                raise ValueError(f"pair {index}: expected tokens on both sides, received {source!r} and {target!r}")
            if min(min((source, target)[place]) for place in self.sentences) <= EOS:
                raise ValueError(
                    f"pair {index}: expected ids of tokens from {UNK}, as padding, beginning and end are added here, "
                    f"received {source!r:.100} and {target!r:.100}"
                )
        self.pairs = [pair for pair in pairs if max(map(len, pair)) <= longest]
        self.left_out = len(pairs) - len(self.pairs)
        if not self.pairs:
            raise ValueError(f"no pairs of at most {longest} tokens among {len(pairs)}")
        if self.left_out:
            warnings.warn(
                f"{self.left_out} of {len(pairs)} pairs are left out, as they are longer than longest={longest} tokens",
                stacklevel=2,
            )
        self.outputs = tuple(outputs)
        self.batch_size, self.buckets, self.multiple = batch_size, buckets, multiple
        self.shuffle, self.seed = shuffle, seed
        self._arranged: tuple[int, list[np.ndarray]] | None = None

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(len(self.pairs) / self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        """Make batch `index` of this epoch."""
        if not 0 <= index < len(self):
            raise IndexError(f"expected a batch within 0..{len(self) - 1}, received {index}")
        epoch, arranged = self.epoch, self._arranged  # another thread may replace both
        if arranged is None or arranged[0] != epoch:
            arranged = self._arranged = (epoch, self._batches(epoch))
        return self.batch([self.pairs[i] for i in arranged[1][index]])

    def _batches(self, epoch: int) -> list[np.ndarray]:
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(len(self.pairs)) if self.shuffle else np.arange(len(self.pairs))
        lengths = np.array([(len(target), len(source)) for source, target in self.pairs])
        batches = []
        step = self.buckets * self.batch_size
        for first in range(0, len(order), step):
            part = order[first : first + step]
            part = part[np.lexsort((lengths[part, 1], lengths[part, 0]))]
            batches += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        if self.shuffle:
            batches = [batches[i] for i in random.permutation(len(batches))]
        return self._unlike_first(batches)

    def _unlike_first(self, batches: list[np.ndarray]) -> list[np.ndarray]:
        """Put two batches of different widths first: Keras takes a width for fixed if the first two batches agree."""
        widths = [
            tuple(self._width(max(len(self.pairs[i][side]) for i in batch) + 1) for side in (0, 1)) for batch in batches
        ]
        varying = [len(set(side)) > 1 for side in zip(*widths, strict=True)]
        for first, one in enumerate(widths):
            for second, other in enumerate(widths[:first]):
                if [a != b for a, b in zip(one, other, strict=True)] == varying:
                    rest = (batch for i, batch in enumerate(batches) if i not in (first, second))
                    return [batches[second], batches[first], *rest]
        return batches

    def _width(self, length: int) -> int:
        return math.ceil(length / self.multiple) * self.multiple

    def batch(self, pairs: Sequence[IdPair]) -> Batch:
        """Return the arrays of these pairs."""
        source = self.padded([[*source, EOS] for source, _ in pairs])
        target = self.padded([[BOS, *target] for _, target in pairs])
        following = self.padded([[*target, EOS] for _, target in pairs])
        return {"source": source, "target": target}, dict.fromkeys(self.outputs, following)

    def padded(self, sentences: Sequence[Sequence[int]]) -> np.ndarray:
        """Return ids int32 `(B, T)`, padded to the longest sentence, rounded up to `multiple`."""
        ids = np.full((len(sentences), self._width(max(map(len, sentences)))), PAD, "int32")
        for row, sentence in zip(ids, sentences, strict=True):
            row[: len(sentence)] = sentence
        return ids


def are_ids(sentence: Any) -> bool:
    """Return whether a sentence is a list or an array of ids: integers of at least 0 that int32 can hold."""
    if not isinstance(sentence, Sequence | np.ndarray) or isinstance(sentence, str | bytes) or np.ndim(sentence) != 1:
        return False
    ids = np.asarray(sentence)
    return not ids.size or (ids.dtype.kind in "iu" and ids.min() >= 0 and ids.max() <= LARGEST)
