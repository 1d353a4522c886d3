"""Files of proposals in every format, written here as MATLAB, COCO's tools and NumPy write them."""

import json

import h5py
import numpy as np
import pytest
import scipy.io
from pycocotools import mask as coco_mask

from keras_segattn.data import (
    Proposals,
    Regions,
    coco_results,
    mcg_mat,
    numpy_proposals,
    save_proposals,
    selective_search_mat,
)
from keras_segattn.data.mat_files import read_mat

# (y1, x1, y2, x2) from 1 with the last pixel inside, and what they are here. The second is one pixel.
MATLAB = np.array([[2.0, 3, 5, 8], [1, 1, 1, 1]])
BOXES = np.array([[2, 1, 8, 5], [0, 0, 1, 1]], np.float32)
SUPERPIXELS = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [3, 3, 3, 3]])
MEMBERS = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]], bool)
LABELS = [np.array([[1.0, 2]]), np.array([[3.0], [2]]), np.array([[4.0]])]
SCORES = np.array([[0.9], [0.5], [-1]])
REGIONS = Regions(SUPERPIXELS, MEMBERS)


def cell(values):
    array = np.empty((len(values), 1), object)
    array[:, 0] = values
    return array


def write_hdf5(path, content):
    """Write a file of version 7.3 as MATLAB does: arrays transposed, cells as references, a block of text in front."""

    def write(group, name, value):
        if isinstance(value, dict):
            inner = group.create_group(name)
            inner.attrs["MATLAB_class"] = np.bytes_("struct")
            for field, one in value.items():
                write(inner, field, one)
            return inner
        if isinstance(value, str):
            data, kind = np.frombuffer(value.encode("utf-16-le"), "<u2").reshape(-1, 1), "char"
        elif value.dtype == object:
            places = [write(file["#refs#"], f"r{len(file['#refs#'])}", one).ref for one in value.ravel(order="F")]
            data, kind = np.array(places, h5py.ref_dtype).reshape(value.shape[::-1]), "cell"
        elif value.dtype == bool:
            data, kind = value.T.astype("u1"), "logical"
        else:
            data, kind = value.T, value.dtype.name.replace("float64", "double")
        if not data.size:
            data = np.array(value.shape, "u8")
        dataset = group.create_dataset(name, data=data)
        dataset.attrs["MATLAB_class"] = np.bytes_(kind)
        if not np.size(value):
            dataset.attrs["MATLAB_empty"] = 1
        return dataset

    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_group("#refs#")
        for name, value in content.items():
            write(file, name, value)
    with path.open("rb+") as block:
        block.write(b"MATLAB 7.3 MAT-file")


def write_version_5(path, content):
    scipy.io.savemat(path, content)


@pytest.fixture(params=[write_version_5, write_hdf5], ids=["version 5", "version 7.3"])
def write_mat(request, tmp_path):
    def write(content, name="file.mat"):
        request.param(tmp_path / name, content)
        return tmp_path / name

    return write


def same(found, expected):
    """Assert that proposals are equal, bit for bit."""
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    assert (found.scores is None, found.regions is None) == (expected.scores is None, expected.regions is None)
    assert found.size == expected.size
    if expected.scores is not None:
        np.testing.assert_array_equal(found.scores, expected.scores)
    if expected.regions is not None:
        np.testing.assert_array_equal(found.regions.masks, expected.regions.masks)


def test_both_kinds_of_mat_files_look_the_same(write_mat):
    content = {
        "text": "héllo",
        "flags": np.array([[True, False, True]]),
        "numbers": np.arange(6, dtype="int16").reshape(2, 3),
        "cells": cell([np.ones((2, 1)), "b"]),
        "struct": {"inner": np.zeros((1, 1)), "empty": np.zeros((0, 4))},
    }
    found = read_mat(write_mat(content))
    assert sorted(found) == sorted(content)
    assert found["text"] == "héllo"
    for name in ("flags", "numbers"):
        np.testing.assert_array_equal(found[name], content[name])
    assert found["numbers"].dtype == np.int16
    np.testing.assert_array_equal(found["cells"][0], np.ones((2, 1)))
    assert found["cells"][1] == "b"
    assert found["struct"]["inner"] == 0
    assert found["struct"]["empty"].shape == (0, 4)


def test_damaged_mat_files_are_errors(write_mat, tmp_path):
    path = write_mat({"boxes": cell([MATLAB] * 50), "images": cell([f"{n:06d}" for n in range(50)])})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"file\.mat: expected an intact \.mat file"):
        selective_search_mat(path)
    path.write_bytes(b"no MATLAB")
    with pytest.raises(ValueError, match=r"file\.mat: expected an intact \.mat file"):
        read_mat(path)
    with pytest.raises(FileNotFoundError, match=r"expected a \.mat file, found a folder"):
        read_mat(tmp_path)


def test_links_to_other_files_are_not_followed(tmp_path):
    np.full(8, 7, np.uint8).tofile(tmp_path / "secret")
    write_hdf5(tmp_path / "other.mat", {"numbers": np.ones((1, 1))})
    write_hdf5(tmp_path / "file.mat", {"numbers": np.ones((1, 1))})
    with h5py.File(tmp_path / "file.mat", "r+") as file:
        file["linked"] = h5py.ExternalLink(str(tmp_path / "other.mat"), "numbers")
    assert list(read_mat(tmp_path / "file.mat")) == ["numbers"]
    with h5py.File(tmp_path / "file.mat", "r+") as file:
        file.create_dataset("raw", (8,), "u1", external=[(str(tmp_path / "secret"), 0, 8)])
    with pytest.raises(ValueError, match=r"file\.mat: .*/raw refers to another file"):
        read_mat(tmp_path / "file.mat")


def test_selective_search_boxes_are_turned_into_ours(write_mat):
    path = write_mat({"images": cell(["000001", "000012"]), "boxes": cell([MATLAB, np.zeros((0, 4))])})
    found = selective_search_mat(path)
    assert list(found) == ["000001", "000012"]
    same(found["000001"], Proposals(BOXES))
    same(found["000001"].within((5, 8)), Proposals(BOXES, size=(5, 8)))
    assert len(found["000012"]) == 0
    with pytest.raises(ValueError, match=r"proposal 0: .* within the picture of 1 × 2 pixels"):
        found["000001"].within((1, 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"boxes": MATLAB}, r"cell arrays images and boxes of the same length, received boxes \(float64 \(2, 4\)\)"),
        (
            {"images": cell(["a"]), "boxes": cell([MATLAB, MATLAB])},
            r"of the same length, received .*boxes \(list of 2\)",
        ),
        ({"images": cell(["a", "a"]), "boxes": cell([MATLAB] * 2)}, r"images\{2\}: expected a name that occurs once"),
        ({"images": cell([MATLAB]), "boxes": cell([MATLAB])}, r"images\{1\}: expected a name"),
        (
            {"images": cell(["a", "b"]), "boxes": cell([MATLAB, MATLAB - 1])},
            r"boxes\{2\} \(b\): expected boxes \(y1, x1, y2, x2\) that count from 1, received 0",
        ),
        (
            {"images": cell(["a"]), "boxes": cell([MATLAB[:, :3]])},
            r"boxes\{1\} \(a\): expected boxes \(n, 4\), received",
        ),
        (
            {"images": cell(["a"]), "boxes": cell([MATLAB * [[np.nan], [1]]])},
            r"\(a\): proposal 0: expected a finite box",
        ),
        ({"images": cell(["a"]), "boxes": cell(["box"])}, r"\(a\): expected boxes"),
    ],
)
def test_wrong_selective_search_files_are_errors(write_mat, content, message):
    with pytest.raises(ValueError, match=r"file\.mat: .*" + message):
        selective_search_mat(write_mat(content))


@pytest.mark.parametrize("struct", ["candidates", None])
def test_mcg_candidates_have_the_boxes_of_their_regions(write_mat, struct):
    content = {
        "superpixels": (SUPERPIXELS + 1).astype(float),
        "labels": cell(LABELS),
        "scores": SCORES,
        "bboxes": MATLAB,  # fewer than regions, as MCG leaves out boxes that overlap others
    }
    found = mcg_mat(write_mat({struct: content} if struct else content))
    same(found, Proposals.of_regions(REGIONS, SCORES[:, 0]))
    np.testing.assert_array_equal(found.boxes, [[0, 0, 4, 2], [1, 0, 4, 2], [0, 2, 4, 3]])


def test_mcg_boxes_need_no_regions(write_mat):
    same(mcg_mat(write_mat({"boxes": MATLAB})), Proposals(BOXES))
    same(mcg_mat(write_mat({"bboxes": MATLAB, "scores": np.array([[2.0, 1]])})), Proposals(BOXES, scores=[2, 1]))


def candidates(**changes):
    return {"superpixels": SUPERPIXELS + 1.0, "labels": cell(LABELS), "scores": SCORES} | changes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"scores": SCORES},
            r"expected superpixels and labels, or boxes or bboxes, received scores \(float64 \(3, 1\)\)",
        ),
        (candidates(superpixels=SUPERPIXELS * 1.0), r"count from 1.*received numbers in 0\.0\.\.3\.0"),
        (candidates(superpixels=SUPERPIXELS + 1.5), "expected superpixels that count from 1"),
        (candidates(superpixels=SUPERPIXELS + 1e9), "at most one for each of the 12 pixels"),
        (candidates(superpixels=SUPERPIXELS * np.nan), "expected superpixels that count from 1"),
        (candidates(labels=cell([*LABELS[:2], np.array([[5.0]])])), r"labels\{3\}: expected superpixels in 1\.\.4"),
        (candidates(labels=cell([*LABELS[:2], np.ones((2, 2))])), r"expected a row or column of numbers labels\{3\}"),
        (candidates(labels=cell([*LABELS[:2], np.zeros((1, 0))])), "region 2: expected at least one pixel"),
        (candidates(labels=np.ones((3, 1))), "expected a cell array labels, received labels"),
        (candidates(scores=SCORES[:2]), r"expected scores \(3,\), received float64 \(2,\)"),
        (candidates(scores=SCORES * np.nan), "proposal 0: expected a finite score"),
    ],
)
def test_wrong_mcg_files_are_errors(write_mat, content, message):
    with pytest.raises(ValueError, match=r"file\.mat: .*" + message):
        mcg_mat(write_mat(content))


def runs(mask):
    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


@pytest.fixture
def write_json(tmp_path):
    def write(content):
        path = tmp_path / "results.json"
        path.write_text(json.dumps(content))
        return path

    return write


def test_coco_results_are_read_by_picture(write_json):
    column = {"size": [3, 4], "counts": [3, 3, 6]}  # uncompressed: the second column
    results = [
        {"image_id": 7, "category_id": 1, "bbox": [2, 1, 6, 4], "score": 0.25},
        {"image_id": 3, "segmentation": runs(REGIONS.masks[0])},
        {"image_id": 7, "category_id": 9, "bbox": [0, 0, 1, 1], "score": 1},
        {"image_id": 3, "segmentation": column, "bbox": [0.5, 0, 3, 3]},
    ]
    found = coco_results(write_json(results))
    assert list(found) == [7, 3]
    same(found[7], Proposals(BOXES, scores=[0.25, 1]))
    masks = np.stack([REGIONS.masks[0], np.tile([0, 1, 0, 0], (3, 1))])
    same(found[3], Proposals(np.array([[0, 0, 4, 2], [0.5, 0, 3.5, 3]]), Regions.of_masks(masks, (3, 4))))
    assert coco_results(write_json([])) == {}


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({}, "expected a list of results, received dict"),
        ([{"bbox": [0, 0, 1, 1]}], "result 0: expected image_id to be a whole number, found None"),
        ([{"image_id": 1}], r"result 0: expected bbox to be a list of numbers"),
        ([{"image_id": 1, "bbox": [0, 0, 1]}], r"result 0: expected bbox to be \[x, y, width, height\]"),
        ([{"image_id": 1, "bbox": [0, 0, 1, float("nan")]}], "result 0: expected bbox"),
        (
            [{"image_id": 1, "bbox": [0, 0, 9, 9]}, {"image_id": 1, "bbox": [4, 4, 0.5, 9]}],
            "image 1: proposal 1: expected",
        ),
        ([{"image_id": 1, "bbox": [0, 0, 1, 1], "score": "high"}], "result 0: expected score to be a finite number"),
        (
            [{"image_id": 1, "bbox": [0, 0, 1, 1], "score": 1}, {"image_id": 1, "bbox": [0, 0, 1, 1]}],
            "image 1: expected a score in all results of the picture or in none",
        ),
        (
            [{"image_id": 1, "bbox": [0, 0, 1, 1]}, {"image_id": 1, "segmentation": runs(np.eye(3))}],
            "image 1: expected a segmentation in all results",
        ),
        ([{"image_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4]]}], "result 0: expected segmentation to be run lengths"),
        (
            [{"image_id": 1, "segmentation": {"size": [3, 4], "counts": [3, 3, 7]}}],
            "result 0: expected segmentation to be run lengths that sum to height × width",
        ),
        (
            [{"image_id": 1, "segmentation": runs(np.eye(size))} for size in (3, 4)],
            "image 1: expected masks of one size for the picture",
        ),
        ([{"image_id": 1, "segmentation": runs(np.zeros((3, 3)))}], "image 1: region 0: expected at least one pixel"),
        (
            [{"image_id": 1, "segmentation": runs(np.eye(3)), "bbox": [0, 0, 2, 2]}],
            "image 1: proposal 0: expected a region in its box",
        ),
    ],
)
def test_wrong_coco_results_are_errors(write_json, results, message):
    with pytest.raises(ValueError, match=r"results\.json: .*" + message):
        coco_results(write_json(results))


@pytest.mark.parametrize(
    "proposals",
    [
        Proposals(BOXES),
        Proposals(BOXES[:0], scores=[], size=(9, 9)),
        Proposals.of_regions(REGIONS, SCORES[:, 0]),
        Proposals.of_regions(REGIONS.take(slice(0))),
    ],
    ids=["boxes", "nothing", "regions", "no regions"],
)
def test_saved_proposals_come_back(tmp_path, proposals):
    save_proposals(proposals, tmp_path / "saved.npz")
    same(numpy_proposals(tmp_path / "saved.npz"), proposals)
    assert [path.name for path in tmp_path.iterdir()] == ["saved.npz"]


def test_numpy_files_of_others_are_read(tmp_path):
    np.save(tmp_path / "boxes.npy", BOXES.astype("float64"))
    same(numpy_proposals(tmp_path / "boxes.npy"), Proposals(BOXES))
    np.savez(tmp_path / "masks.npz", masks=REGIONS.masks.astype("u1"), scores=SCORES[:, 0])
    same(numpy_proposals(tmp_path / "masks.npz"), Proposals.of_regions(REGIONS, SCORES[:, 0]))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"scores": SCORES[:, 0]},
            "expected boxes, or regions as superpixels and members or as masks.*received scores",
        ),
        ({"boxes": BOXES, "labels": BOXES}, "received boxes, labels"),
        ({"boxes": BOXES, "members": MEMBERS}, "received boxes, members"),
        ({"superpixels": SUPERPIXELS, "members": MEMBERS, "masks": REGIONS.masks}, "expected boxes, or regions"),
        (
            {"boxes": BOXES, "size": np.array([9.0, 9])},
            r"expected size \(height, width\) of integers, received float64",
        ),
        ({"masks": REGIONS.masks[0]}, r"expected masks \(n, height, width\), received bool \(3, 4\)"),
        ({"masks": REGIONS.masks * 0.5}, "region 0: expected a mask"),
        ({"masks": REGIONS.masks, "boxes": BOXES[[0, 0, 0]]}, "proposal 0: expected a region in its box"),
        ({"boxes": BOXES * np.nan}, "proposal 0: expected a finite box"),
        ({"boxes": np.array([None])}, "expected an intact .npy or .npz file without pickled objects"),
    ],
)
def test_wrong_numpy_files_are_errors(tmp_path, arrays, message):
    np.savez(tmp_path / "file.npz", **arrays)
    with pytest.raises(ValueError, match=r"file\.npz: .*" + message):
        numpy_proposals(tmp_path / "file.npz")


def test_damaged_numpy_files_are_errors(tmp_path):
    path = tmp_path / "file.npz"
    save_proposals(Proposals(BOXES), path)
    content = path.read_bytes()
    for damaged in (b"", b"text", content[:-30], content[:60] + b"\0" * 40 + content[100:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"file\.npz: expected an intact"):
            numpy_proposals(path)
    with pytest.raises(FileNotFoundError, match="found nothing"):
        numpy_proposals(tmp_path / "missing.npy")
    with pytest.raises(ValueError, match=r"ends with \.npz, received .*boxes\.npy"):
        save_proposals(Proposals(BOXES), tmp_path / "boxes.npy")
