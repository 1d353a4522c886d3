"""Recall of region proposals on Tux Paint scenes: boxes of selective search, and regions of merged superpixels.

    python benchmarks/proposals.py SCENES --split test --count 100

SCENES holds train/, validation/ and test/ as `segattn scenes` writes them. An object counts as found if the box, or the
mask, of a proposal overlaps its own with an intersection over union of at least 0.5 or 0.7.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.progress import track

from keras_segattn import data

SOURCES = {"selective search, fast": data.SelectiveSearch(), "region merging": data.RegionMerging()}
THRESHOLDS = (0.5, 0.7)


def recalls(proposals, truth):
    """Return the cells of a table."""
    return " | ".join(f"{data.proposal_recall(proposals, truth, threshold):.3f}" for threshold in THRESHOLDS)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--count", type=int, default=100, help="number of scenes")
    arguments = parser.parse_args()
    folder = arguments.scenes / arguments.split
    scenes = data.coco_instances(folder / "annotations.json", folder / "images")[: arguments.count]
    boxes, masks = ([scene["objects"][name] for scene in scenes] for name in ("bbox", "mask"))
    print(f"{len(scenes)} scenes with {sum(map(len, boxes))} objects\n")
    print("| source | proposals per scene | boxes at 0.5 | at 0.7 | masks at 0.5 | at 0.7 |\n|---|---|---|---|---|---|")
    for name, source in SOURCES.items():
        proposals = [source(scene["image"]) for scene in track(scenes, name, transient=True)]
        with_regions = all(found.regions is not None for found in proposals)
        cells = recalls(proposals, masks) if with_regions else "– | –"
        print(
            f"| {name} | {np.mean([len(found) for found in proposals]):.0f} | {recalls(proposals, boxes)} | {cells} |"
        )


if __name__ == "__main__":
    main()
