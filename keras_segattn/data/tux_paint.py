"""Scenes of real cut-outs on real photographs, with exact instance masks, as COCO JSON.

The cut-outs are the photographic stamps of Tux Paint (Debian's `tuxpaint-stamps-default`, GPL-2); their outlines were
cut by hand. The backgrounds are photographs, and a few paintings, without objects of these classes, from GCompris
(Debian's `gcompris-qt-data`), or your own. Stamps *and* photographs are split, so that no two splits share a cut-out or
a background. Scenes are pasted, not photographed: compare models on them with each other, not with published numbers.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from rich.progress import track

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.data.augmentation import check_integer, check_size
from keras_segattn.data.tux_paint_sources import SPLITS, TUX_PAINT_CLASSES, piece_of, read_photographs, read_stamps
from keras_segattn.files import replaced

ATTEMPTS = 20  # greatest number of attempts to place an object without hiding another


@dataclass(frozen=True)
class TuxPaintScenes:
    """A set of composed scenes, which is a function of these arguments, of the stamps and of the photographs.

    Args:
        split: `"train"`, `"validation"` or `"test"`.
        count: number of scenes; a larger set begins with the same scenes.
        size: (height, width) of the pictures, in pixels.
        objects: least and greatest number of objects of a scene, positive; a scene has fewer if there is no room.
        scale: least and greatest longer side of an object, as a share of the shorter side of the picture.
        rotation: greatest turn to either side, in degrees.
        least_visible: least share of an object that must be visible, in 0..1.
        seed: seed of the scenes.

    Raises:
        ValueError: if an argument is out of range.
    """

    split: str
    count: int
    size: tuple[int, int] = (256, 256)
    objects: tuple[int, int] = (1, 6)
    scale: tuple[float, float] = (0.2, 0.65)
    rotation: float = 15.0
    least_visible: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise `ValueError` if an argument is out of range."""
        check_choice("split", self.split, tuple(SPLITS))
        check_positive_integer("count", self.count)
        check_size("size", self.size)
        check_size("objects", self.objects)
        if self.objects[0] > self.objects[1]:
            raise ValueError(f"objects must be (fewest, most), received {self.objects!r}")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(
                f"scale must be (least, greatest) with 0 < least <= greatest <= 1, received {self.scale!r}"
            )
        if not 0 <= self.rotation <= 180:
            raise ValueError(f"rotation must be in 0..180 degrees, received {self.rotation!r}")
        if not 0 < self.least_visible <= 1:
            raise ValueError(f"least_visible must be above 0 and at most 1, received {self.least_visible!r}")
        check_integer("seed", self.seed)

    def write(
        self, stamps: str | PathLike[str], photographs: str | PathLike[str], destination: str | PathLike[str]
    ) -> Path:
        """Compose the scenes, unless the destination holds them already.

        Args:
            stamps: Debian's `tuxpaint-stamps-default_*.deb`, or the folder it was unpacked into.
            photographs: Debian's `gcompris-qt-data_*.deb`, the folder it was unpacked into, or a folder of `.jpg`,
                `.png` or `.webp` pictures, at least one for every split.
            destination: folder of `annotations.json` (COCO instances, compressed RLE masks, categories from 1 in the
                order of `TUX_PAINT_CLASSES`; every annotation names its `stamp`) and `images/`.

        Returns:
            Path of `annotations.json`.

        Raises:
            FileNotFoundError: if a source is missing; the message says how to get it.
            FileExistsError: if the destination holds other scenes.
            ValueError: if a source is damaged or holds too few stamps or photographs for the split.

        Example:
            >>> scenes = TuxPaintScenes("train", count=1500)
            >>> scenes.write("tuxpaint-stamps-default.deb", "gcompris-qt-data.deb", "scenes/train")
        """
        annotations = Path(destination) / "annotations.json"
        settings = json.loads(json.dumps(asdict(self)))
        if annotations.is_file():
            found = json.loads(annotations.read_text(encoding="utf-8")).get("info", {}).get("settings")
            if found != settings:
                raise FileExistsError(f"{annotations} holds other scenes: expected {settings}, found {found}")
            return annotations
        side = round(min(self.size) * self.scale[1])
        cut_outs = read_stamps(stamps, self.split, side)
        backgrounds = read_photographs(photographs, self.split, max(self.size))
        images: list[dict[str, Any]] = []
        objects: list[dict[str, Any]] = []
        (Path(destination) / "images").mkdir(parents=True, exist_ok=True)
        for index in track(range(self.count), f"{self.split} scenes"):
            picture, placed = self._compose(index, cut_outs, backgrounds)
            name = f"{self.split}_{index:05d}.jpg"
            with replaced(Path(destination) / "images" / name) as temporary:
                picture.save(temporary, quality=92)
            height, width = self.size
            images.append({"id": index + 1, "file_name": name, "height": height, "width": width})
            for stamp, label, mask in placed:
                objects.append(_annotation(len(objects) + 1, index + 1, label, mask) | {"stamp": stamp})
        content = {
            "info": {"description": "Tux Paint stamps (GPL-2) on photographs", "settings": settings},
            "categories": [{"id": label, "name": name} for label, name in enumerate(TUX_PAINT_CLASSES, 1)],
            "images": images,
            "annotations": objects,
        }
        with replaced(annotations) as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")
        return annotations

    def _compose(
        self, index: int, stamps: Sequence[Sequence[tuple[str, Image.Image]]], photographs: Sequence[Image.Image]
    ) -> tuple[Image.Image, list[tuple[str, int, np.ndarray]]]:
        """Compose scene `index`: the picture, and stamp, label and visible mask of every object from the bottom up."""
        random = np.random.default_rng([self.seed, list(SPLITS).index(self.split), index])
        scene = _crop(photographs[int(random.integers(len(photographs)))], self.size, random)
        names: list[str] = []
        labels: list[int] = []
        whole: list[int] = []  # areas of the objects, hidden parts included
        masks: list[np.ndarray] = []
        for _ in range(random.integers(self.objects[0], self.objects[1] + 1)):
            label = int(random.integers(len(stamps)))
            name, stamp = stamps[label][int(random.integers(len(stamps[label])))]
            stamp = self._vary(stamp, random)
            for _ in range(ATTEMPTS):
                left, top = ((np.array(scene.size) - stamp.size) * random.uniform(-0.1, 1.1, 2)).round().astype(int)
                layer = Image.new("RGBA", scene.size)
                layer.paste(stamp, (int(left), int(top)))
                mask = np.asarray(layer)[..., 3] > 127
                seen = [*(other & ~mask for other in masks), mask]
                areas = [*whole, int(np.count_nonzero(np.asarray(stamp)[..., 3] > 127))]
                if all(m.sum() >= max(1, self.least_visible * a) for m, a in zip(seen, areas, strict=True)):
                    scene.paste(layer, (0, 0), layer)
                    names.append(name)
                    labels.append(label + 1)
                    whole, masks = areas, seen
                    break
        return scene, list(zip(names, labels, masks, strict=True))

    def _vary(self, stamp: Image.Image, random: np.random.Generator) -> Image.Image:
        """Mirror a stamp half of the time, turn it, brighten or darken it, and scale it."""
        if random.random() < 0.5:
            stamp = stamp.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        stamp = stamp.rotate(random.uniform(-self.rotation, self.rotation), Image.Resampling.BICUBIC, expand=True)
        light = random.uniform(0.75, 1.25)
        *colours, alpha = stamp.split()
        stamp = Image.merge("RGBA", [*(c.point(lambda value: round(value * light)) for c in colours), alpha])
        stamp = stamp.crop(stamp.getchannel("A").getbbox())
        side = min(self.size) * np.exp(random.uniform(*np.log(self.scale)))
        factor = side / max(stamp.size)
        return stamp.resize([max(1, round(s * factor)) for s in stamp.size], Image.Resampling.BICUBIC)


def _crop(photograph: Image.Image, size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """Cut out a piece of a photograph, of at least half the largest size, mirror it half of the time, and resize it."""
    return piece_of(photograph, size, random.uniform(0.5, 1), random.random(2), random.random() < 0.5)


def _annotation(identity: int, image: int, label: int, mask: np.ndarray) -> dict[str, Any]:
    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {
        "id": identity,
        "image_id": image,
        "category_id": label,
        "segmentation": {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")},
        "area": int(mask.sum()),
        "bbox": [float(value) for value in coco_mask.toBbox(encoded)],
        "iscrowd": 0,
    }
