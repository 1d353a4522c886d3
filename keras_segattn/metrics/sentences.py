"""Scores of translations and captions, computed by the libraries that publications commonly use.

Tokens are compared in Unicode's normal form C, in which the readers and vocabularies of this package have them.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any

Sentence = Sequence[str]


def bleu(found: Sequence[Sentence], references: Sequence[Sequence[Sentence]]) -> float:
    """Compute BLEU-4 of the corpus (Papineni et al. 2002) from the given tokens, by sacrebleu.

    Args:
        found: one list of tokens per sentence.
        references: one or more lists of tokens per sentence.

    Returns:
        Score in 0..100.

    Raises:
        ValueError: if there is nothing to score, or the numbers of sentences differ.

    Example:
        >>> bleu([["a", "small", "dog", "runs"]], [[["a", "small", "dog", "runs"]]])
        100.0
    """
    import sacrebleu

    _check(found, references)
    most = max(map(len, references))
    # sacrebleu takes `None` for a reference that a sentence lacks, which its annotations do not say.
    columns: Any = [[_line(one[i]) if i < len(one) else None for one in references] for i in range(most)]
    lines = [_line(sentence) for sentence in found]
    # `force` says that the text is meant to be split into tokens already. Exact matches score 100 up to rounding.
    return min(100.0, sacrebleu.corpus_bleu(lines, columns, tokenize="none", force=True).score)


def cider(found: Sequence[Sentence], references: Sequence[Sequence[Sentence]]) -> float:
    """Compute CIDEr-D of the corpus (Vedantam, Zitnick & Parikh, CVPR 2015), as COCO's evaluation does.

    Args:
        found: one list of tokens per picture.
        references: one or more lists of tokens per picture; the fewer pictures have a word in their lists, the more it
            counts.

    Returns:
        Score in 0..10; published tables show it multiplied by 100.

    Raises:
        ModuleNotFoundError: if `pycocoevalcap`, which the package does not require, is not installed.
        ValueError: if there is nothing to score, or the numbers of pictures differ.

    Example:
        >>> cider([["a", "small", "dog"], ["two", "birds"]], [[["a", "dog"]], [["two", "birds"]]])
    """
    try:
        from pycocoevalcap.cider.cider import Cider
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("CIDEr needs `pip install pycocoevalcap`") from error
    _check(found, references)
    given = {i: [_line(sentence)] for i, sentence in enumerate(found)}
    expected = {i: [_line(sentence) for sentence in one] for i, one in enumerate(references)}
    return float(Cider().compute_score(expected, given)[0])


def _check(found: Sequence[Sentence], references: Sequence[Sequence[Sentence]]) -> None:
    if not found or len(found) != len(references):
        raise ValueError(
            f"expected as many sentences as references, at least one, received {len(found)}, {len(references)}"
        )
    for place, (sentence, one) in enumerate(zip(found, references, strict=True)):
        if not one or not all(map(_are_tokens, (sentence, *one))):
            raise ValueError(f"sentence {place}: expected lists of tokens, received {sentence!r} and {one!r:.200}")


def _are_tokens(sentence: Any) -> bool:
    return (
        isinstance(sentence, Sequence) and not isinstance(sentence, str) and all(isinstance(x, str) for x in sentence)
    )


def _line(sentence: Sentence) -> str:
    return unicodedata.normalize("NFC", " ".join(sentence))
