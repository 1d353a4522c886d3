"""Files of region proposals: selective search and MCG as MATLAB files, COCO's results, and NumPy's files."""

import zipfile
import zlib
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_segattn.arguments import is_number
from keras_segattn.data.coco_json import BrokenEntryError, coordinates, field, positive_number, read_json, whole_number
from keras_segattn.data.coco_masks import Mask, draw_mask, read_segmentation
from keras_segattn.data.mat_files import read_mat
from keras_segattn.data.proposals import Proposals
from keras_segattn.data.proposals_regions import Regions
from keras_segattn.files import replaced

# Columns of MATLAB's (y1, x1, y2, x2) in our order, and what is subtracted because it counts from 1 and includes the
# last pixel.
MATLAB_COLUMNS, MATLAB_OFFSET = [1, 0, 3, 2], np.array([1.0, 1, 0, 0])
ARRAYS = ("boxes", "superpixels", "members", "scores", "size", "masks")


def selective_search_mat(path: str | PathLike[str]) -> dict[str, Proposals]:
    """Read the selective search boxes that were released with R-CNN, such as `voc_2007_test.mat`.

    Args:
        path: `.mat` file of two cell arrays of the same length: `images`, names without an ending, and `boxes`, each
            `(n, 4)`, (y1, x1, y2, x2), counted from 1 with the last pixel inside.

    Returns:
        Dict from name to proposals, in the order of the file. They know neither scores nor the size of the picture,
        which `Proposals.within` adds.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is damaged or of another form, or a box is wrong; the message names file and picture.
        ModuleNotFoundError: if the file is older than MATLAB's 7.3 and SciPy is not installed.

    Example:
        >>> proposals = selective_search_mat("voc_2007_test.mat")["000001"].within(picture.shape[:2])
    """
    content = read_mat(path)
    images, boxes = content.get("images"), content.get("boxes")
    if not isinstance(images, list) or not isinstance(boxes, list) or len(images) != len(boxes):
        raise ValueError(
            f"{path}: expected cell arrays images and boxes of the same length, received {_described(content)}"
        )
    found: dict[str, Proposals] = {}
    for number, (name, one) in enumerate(zip(images, boxes, strict=True), 1):
        if not isinstance(name, str) or not name or name in found:
            raise ValueError(f"{path}: images{{{number}}}: expected a name that occurs once, received {name!r:.100}")
        found[name] = _proposals(f"{path}: boxes{{{number}}} ({name})", _matlab_boxes, one)
    return found


def mcg_mat(path: str | PathLike[str]) -> Proposals:
    """Read the candidates of one picture from multiscale combinatorial grouping (MCG; Arbeláez et al. 2014).

    Args:
        path: `.mat` file of these variables or of one struct `candidates` or `proposals` of them: `superpixels`
            `(height, width)`, counted from 1, and `labels`, a cell array with the superpixels of each region; or, in
            files of boxes alone, `boxes` or `bboxes` `(n, 4)`, (y1, x1, y2, x2), counted from 1 with the last pixel
            inside. `scores` `(n,)` may be missing.

    Returns:
        Proposals in the order of the file. The box of a region is the tight one, as in SDS: the `bboxes` beside regions
        are left out, because later versions of MCG removed those that overlap others.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is damaged or of another form, or a proposal is wrong; the message names the file.
        ModuleNotFoundError: if the file is older than MATLAB's 7.3 and SciPy is not installed.

    Example:
        >>> proposals = mcg_mat("MCG-Pascal-Segmentation_trainvaltest_2012-proposals/2007_000033.mat").take(slice(2000))
    """
    content = read_mat(path)
    for name in ("candidates", "proposals"):
        if isinstance(content.get(name), dict):
            content = content[name]
    if {"superpixels", "labels"} <= content.keys():
        return _proposals(path, _mcg_regions, content)
    for name, scores in (("boxes", "scores"), ("bboxes", "bboxes_scores" if "bboxes_scores" in content else "scores")):
        if name in content:
            return _proposals(path, _matlab_boxes, content[name], content.get(scores))
    raise ValueError(f"{path}: expected superpixels and labels, or boxes or bboxes, received {_described(content)}")


def coco_results(path: str | PathLike[str]) -> dict[int, Proposals]:
    """Read the results of a detector in COCO's JSON as proposals; their categories do not matter.

    Args:
        path: JSON file of a list of entries `{"image_id": 7, "score": 0.9, "bbox": [x, y, width, height],
            "segmentation": {"size": [height, width], "counts": …}}`. The segmentation may be missing in all entries of
            a picture, or the box where there is a segmentation; `score` may be missing in all entries of a picture.

    Returns:
        Dict from the id of the picture to its proposals, in the order of the file. A box without `bbox` is the tight
        one.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is no JSON of this form, or an entry is wrong; the message names file and entry.

    Example:
        >>> proposals = coco_results("bbox_proposals_val2017.json")[139]
    """
    path = Path(path)
    content = read_json(path, "a COCO results file")
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected a list of results, received {type(content).__name__}")
    results: dict[int, list[_Result]] = {}
    for number, entry in enumerate(content):
        try:
            results.setdefault(field(entry, "image_id", whole_number), []).append(_read_result(entry))
        except BrokenEntryError as error:
            raise ValueError(f"{path}: result {number}: {error}") from error
    return {picture: _proposals(f"{path}: image {picture}", _of_results, found) for picture, found in results.items()}


def numpy_proposals(path: str | PathLike[str]) -> Proposals:
    """Read the proposals of one picture from a file of NumPy; nothing is unpickled.

    Args:
        path: `.npy` file of boxes `(n, 4)`, (x1, y1, x2, y2) as `Proposals` takes them, or `.npz` file of `boxes`,
            `superpixels`, `members`, `scores` and `size`, as `save_proposals` writes it, some of which may be missing.
            `masks` `(n, height, width)` of bool or 0 and 1 may stand in place of `superpixels` and `members`. Regions
            without `boxes` have the tight ones.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is damaged or of another form, or a proposal is wrong; the message names the file.

    Example:
        >>> proposals = numpy_proposals("boxes.npy").within(picture.shape[:2])
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a .npy or .npz file, found nothing")
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            arrays = {"boxes": content} if isinstance(content, np.ndarray) else dict(content)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: expected an intact .npy or .npz file without pickled objects: {error}") from error
    names = arrays.keys()
    whole = ("superpixels" in names) == ("members" in names) and not {"masks", "superpixels"} <= names
    if not names <= set(ARRAYS) or not {"boxes", "masks", "superpixels"} & names or not whole:
        raise ValueError(
            f"{path}: expected boxes, or regions as superpixels and members or as masks, and perhaps scores and size, "
            f"received {', '.join(names)}"
        )
    return _proposals(path, _numpy_arrays, arrays)


def save_proposals(proposals: Proposals, path: str | PathLike[str]) -> None:
    """Write the proposals of one picture to a compressed `.npz` file, which `numpy_proposals` reads.

    Args:
        proposals: proposals of one picture.
        path: file to write, with the ending `.npz`.

    Raises:
        ValueError: if the path has another ending.
        OSError: if the file cannot be written.

    Example:
        >>> save_proposals(SelectiveSearch()(picture), "proposals/scene_0.npz")
    """
    if Path(path).suffix != ".npz":
        raise ValueError(f"expected a path that ends with .npz, received {str(path)!r}")
    regions = proposals.regions
    arrays: dict[str, Any] = {"boxes": proposals.boxes, "scores": proposals.scores, "size": proposals.size}
    if regions is not None:
        arrays |= {"superpixels": regions.superpixels, "members": regions.members}
    with replaced(path) as temporary:
        np.savez_compressed(temporary, **{name: array for name, array in arrays.items() if array is not None})


def _proposals(name: object, make: Any, *arguments: Any) -> Proposals:
    """Return what `make` makes of the arguments; an error names its origin."""
    try:
        proposals: Proposals = make(*arguments)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return proposals


def _described(content: dict[str, Any]) -> str:
    kinds = {
        name: f"{one.dtype} {one.shape}" if isinstance(one, np.ndarray) else f"{type(one).__name__} of {len(one)}"
        for name, one in content.items()
        if hasattr(one, "__len__")
    }
    return ", ".join(f"{name} ({kind})" for name, kind in kinds.items()) or "no variables"


def _vector(name: str, values: Any) -> np.ndarray:
    if not _is_numbers(values) or sum(side != 1 for side in values.shape) > 1:
        raise ValueError(f"expected a row or column of numbers {name}, received {_described({name: values})}")
    vector: np.ndarray = values.reshape(-1)
    return vector


def _is_numbers(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiu"


def _matlab_boxes(boxes: Any, scores: Any = None) -> Proposals:
    if isinstance(boxes, np.ndarray) and not boxes.size:
        boxes = np.zeros((0, 4))
    if not _is_numbers(boxes) or boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"expected boxes (n, 4), received {_described({'boxes': boxes})}")
    if boxes.size and boxes.min() < 1:
        raise ValueError(f"expected boxes (y1, x1, y2, x2) that count from 1, received {boxes.min()}")
    return Proposals(
        boxes.astype("float64")[:, MATLAB_COLUMNS] - MATLAB_OFFSET,
        scores=None if scores is None else _vector("scores", scores),
    )


def _mcg_regions(content: dict[str, Any]) -> Proposals:
    superpixels, labels = content["superpixels"], content["labels"]
    if not _is_numbers(superpixels) or not superpixels.size:
        raise ValueError(f"expected superpixels (height, width), received {_described(content)}")
    least, most = superpixels.min(), superpixels.max()
    if not 1 <= least <= most <= superpixels.size or (superpixels != np.floor(superpixels)).any():
        raise ValueError(
            f"expected superpixels that count from 1, at most one for each of the {superpixels.size} pixels, received "
            f"numbers in {least}..{most}"
        )
    count = int(most)
    if not isinstance(labels, list):
        raise ValueError(f"expected a cell array labels, received {_described({'labels': labels})}")
    members = np.zeros((len(labels), count), bool)
    for number, (row, label) in enumerate(zip(members, labels, strict=True), 1):
        chosen = _vector(f"labels{{{number}}}", label)
        if not np.isin(chosen, np.arange(1, count + 1)).all():
            raise ValueError(
                f"labels{{{number}}}: expected superpixels in 1..{count}, received {chosen.tolist()!r:.100}"
            )
        row[chosen.astype(np.int64) - 1] = True
    scores = content.get("scores")
    return Proposals.of_regions(
        Regions(superpixels.astype(np.int32) - 1, members), None if scores is None else _vector("scores", scores)
    )


class _Result(NamedTuple):
    box: list[float] | None
    score: float | None
    size: tuple[int, int] | None
    mask: Mask | None


def _read_result(entry: dict[str, Any]) -> _Result:
    """Check one result in full, without drawing its mask."""
    size = mask = None
    if entry.get("segmentation") is not None:
        size = height, width = field(entry, "segmentation", _mask_size)
        mask = field(entry, "segmentation", lambda value: read_segmentation(value, height, width))
    box = None if mask is not None and entry.get("bbox") is None else field(entry, "bbox", _corners)
    score = None if entry.get("score") is None else field(entry, "score", _finite)
    return _Result(box, score, size, mask)


def _of_results(results: list[_Result]) -> Proposals:
    """Make the proposals of one picture, for which there is at least one result."""
    for name in ("score", "size"):
        if len({getattr(result, name) is None for result in results}) > 1:
            what = "segmentation" if name == "size" else name
            raise ValueError(f"expected a {what} in all results of the picture or in none, received both")
    sizes = {result.size for result in results}
    if len(sizes) > 1:
        raise ValueError(f"expected masks of one size for the picture, received {sorted(sizes, key=str)}")
    scores = None if results[0].score is None else np.array([result.score for result in results])
    (size,) = sizes
    if size is None:
        return Proposals(np.array([result.box for result in results]), scores=scores)
    regions = Regions.of_masks((draw_mask(result.mask, *size) for result in results if result.mask), size)
    boxes = [
        tight if result.box is None else np.array(result.box)
        for result, tight in zip(results, regions.boxes, strict=True)
    ]
    return Proposals(np.stack(boxes), regions, scores)


def _mask_size(value: Any) -> tuple[int, int]:
    size = value.get("size") if isinstance(value, dict) else None
    if not isinstance(size, list) or len(size) != 2:
        raise BrokenEntryError('run lengths {"size": [height, width], "counts": …}', value)
    return positive_number(size[0]), positive_number(size[1])


def _corners(value: Any) -> list[float]:
    box = coordinates(value)
    if len(box) != 4:
        raise BrokenEntryError("[x, y, width, height]", value)
    x, y, width, height = box
    return [x, y, x + width, y + height]


def _finite(value: Any) -> float:
    if not is_number(value):
        raise BrokenEntryError("a finite number", value)
    return value


def _numpy_arrays(arrays: dict[str, np.ndarray]) -> Proposals:
    size, masks, regions = arrays.get("size"), arrays.get("masks"), None
    if size is not None and (size.shape != (2,) or size.dtype.kind not in "iu"):
        raise ValueError(f"expected size (height, width) of integers, received {size.dtype} {size.shape}")
    if masks is not None:
        if masks.ndim != 3:
            raise ValueError(f"expected masks (n, height, width), received {masks.dtype} {masks.shape}")
        regions = Regions.of_masks(masks, (masks.shape[1], masks.shape[2]))
    elif "superpixels" in arrays:
        regions = Regions(arrays["superpixels"], arrays["members"])
    boxes = arrays["boxes"] if regions is None or "boxes" in arrays else regions.boxes
    known = None if size is None else (int(size[0]), int(size[1]))
    return Proposals(boxes, regions, arrays.get("scores"), known)
