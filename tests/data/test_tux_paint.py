"""Scenes of cut-outs, from a miniature of Tux Paint and GCompris in folders and in Debian packages."""

import gzip
import io
import json
import lzma
import tarfile

import numpy as np
import pytest
from PIL import Image

from keras_segattn.data.coco import coco_instances
from keras_segattn.data.debian import files_of
from keras_segattn.data.instances import check_example
from keras_segattn.data.tux_paint import TuxPaintScenes
from keras_segattn.data.tux_paint_sources import SPLITS, TUX_PAINT_CLASSES, read_photographs, read_stamps, split_of

# JPEG changes colours; the stamps here differ from the photographs by 255 in one channel.
JPEG = 100


def encoded(picture, kind):
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def stamps(count=7):
    """Make stamps of red discs, and beside them files that must be left out: drawings, mirrored stamps, sounds."""
    y, x = np.mgrid[:40, :30]
    alpha = (((x - 15) / 15) ** 2 + ((y - 20) / 20) ** 2 < 1).astype(np.uint8) * 255
    disc = encoded(Image.fromarray(np.dstack([alpha * 0 + 255, alpha * 0, alpha * 0, alpha])), "PNG")
    root = "usr/share/tuxpaint/stamps"
    found = {f"{root}/{folders[0]}/{n}.png": disc for folders in TUX_PAINT_CLASSES.values() for n in range(count)}
    for name in ("animals/birds/cartoon/duck.png", "animals/mammals/hedgehog.png", "vehicles/car_mirror.png"):
        found[f"{root}/{name}"] = b"never read"
    return found | {f"{root}/animals/birds/owl.ogg": b"sound", f"{root}/symbols/x.png": b"never read"}


def photographs():
    """Make seven blue photographs and a thumbnail in a resource file, and a picture of the manual."""
    blue, small = Image.new("RGB", (300, 256), (0, 0, 255)), Image.new("RGB", (20, 20))
    resource = (
        b"qres" + b"RIFF".join([b"no ", b" picture"]) + encoded(blue, "WEBP") * 7 + encoded(small, "WEBP") + b"end"
    )
    return {"usr/share/gcompris-qt/rcc/explore_monuments.rcc": resource, "usr/share/doc/menu.png": b"never read"}


def debian(files, compress=lzma.compress, suffix="xz"):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    package = b"!<arch>\n"
    for name, content in (("debian-binary", b"2.0"), (f"data.tar.{suffix}", compress(archive.getvalue()))):
        package += f"{name:<48}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
    return package


@pytest.fixture
def sources(tmp_path):
    for name, files in (("stamps", stamps()), ("photographs", photographs())):
        (tmp_path / f"{name}.deb").write_bytes(debian(files))
        for path, content in files.items():
            file = tmp_path / f"unpacked_{name}" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    return tmp_path


def test_scenes_are_exact_deterministic_and_written_once(sources, tmp_path):
    scenes = TuxPaintScenes("train", count=6, size=(64, 96), objects=(2, 4))
    path = scenes.write(sources / "stamps.deb", sources / "photographs.deb", tmp_path / "scenes")
    again = scenes.write(sources / "unpacked_stamps", sources / "unpacked_photographs", tmp_path / "again")
    assert path.read_bytes() == again.read_bytes()
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "scenes").rglob("*")}
    assert scenes.write("none", "none", tmp_path / "scenes") == path
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / "scenes").rglob("*")}
    with pytest.raises(FileExistsError, match="holds other scenes"):
        TuxPaintScenes("train", count=7, size=(64, 96)).write("none", "none", tmp_path / "scenes")
    found = coco_instances(path, tmp_path / "scenes" / "images")
    assert list(found.class_names.values()) == list(TUX_PAINT_CLASSES)
    assert len(found) == 6
    stamp_of = {one["id"]: one["stamp"] for one in json.loads(path.read_text())["annotations"]}
    allowed = {name for stamps_ in read_stamps(sources / "stamps.deb", "train", 64) for name, _ in stamps_}
    assert set(stamp_of.values()) <= allowed
    for example in found:
        check_example(example, "scene")
        masks, boxes = example["objects"]["mask"], example["objects"]["bbox"]
        assert 1 <= len(masks) <= 4
        assert masks.sum(axis=0).max() == 1  # masks leave out hidden parts
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
            assert mask[y1:y2, x1:x2].sum() == mask.sum() > 0
        red = example["image"][..., 0] > example["image"][..., 2].astype(int) + JPEG
        assert (red & ~masks.any(axis=0)).sum() == 0
        assert red[masks.any(axis=0)].mean() > 0.8  # edges are smooth, and JPEG halves the resolution of colour


def test_first_scenes_do_not_depend_on_the_number_but_on_the_seed(sources, tmp_path):
    def pictures(**changes):
        scenes = TuxPaintScenes(**{"split": "test", "count": 2, "size": (32, 32)} | changes)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        scenes.write(sources / "stamps.deb", sources / "photographs.deb", folder)
        return [file.read_bytes() for file in sorted((folder / "images").iterdir())][:2]

    assert pictures() == pictures(count=3)
    assert pictures() != pictures(seed=1)


def test_splits_share_nothing_and_lose_nothing(sources):
    names = [f"name {n}" for n in range(101)]
    splits = {split: split_of(names, split) for split in SPLITS}
    assert sorted(name for found in splits.values() for name in found) == sorted(names)
    assert {split: len(found) for split, found in splits.items()} == {"train": 71, "validation": 15, "test": 15}
    assert split_of(reversed(names), "test") == splits["test"]
    found = [name for split in SPLITS for one in read_stamps(sources / "unpacked_stamps", split, 50) for name, _ in one]
    assert len(found) == len(set(found)) == 7 * len(TUX_PAINT_CLASSES)


def test_photographs_of_a_folder_of_ones_own(tmp_path):
    for n in range(7):
        Image.new("RGB", (400, 200)).save(tmp_path / f"{n}.jpg")
    found = read_photographs(tmp_path, "train", 100)
    assert [one.size for one in found] == [(200, 100)] * 5
    (tmp_path / "0.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"0\.jpg: not a readable picture"):
        read_photographs(tmp_path, "train", 100)


def test_sources_that_are_missing_or_damaged(sources, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.deb: expected a Debian package or a folder"):
        read_stamps(tmp_path / "none.deb", "train", 64)
    with pytest.raises(ValueError, match=r"0 stamps of 'mammal' leave none for 'train'; run `apt-get download"):
        read_stamps(sources / "photographs.deb", "train", 64)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"0 photographs leave none for 'test'; run `apt-get download"):
        read_photographs(tmp_path / "empty", "test", 64)
    damaged = tmp_path / "damaged.deb"
    package = (sources / "stamps.deb").read_bytes()
    broken = bytearray(package)
    broken[len(package) // 2] ^= 255
    for content, message in (
        (b"no package", "expected a Debian package"),
        (package[: len(package) // 2], "truncated"),
        (bytes(broken), "damaged"),
        (debian({}, lambda content: b"\x28\xb5\x2f\xfd" + content, "zst"), "not compressed with xz or gzip"),
    ):
        damaged.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            list(files_of(damaged, bool))
    damaged.write_bytes(debian({"a/b": b"c"}, gzip.compress, "gz"))
    assert list(files_of(damaged, lambda name: name.startswith("a/"))) == [("a/b", b"c")]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("split", "val"),
        ("count", 0),
        ("size", 256),
        ("objects", (3, 2)),
        ("scale", (0.5, 0.2)),
        ("rotation", 200),
        ("least_visible", 0),
        ("seed", None),
    ],
)
def test_wrong_arguments_are_told(argument, value):
    with pytest.raises(ValueError, match=argument):
        TuxPaintScenes(**{"split": "train", "count": 1} | {argument: value})
