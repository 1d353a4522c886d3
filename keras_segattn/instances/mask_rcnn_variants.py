"""Differences between the releases of Mask R-CNN (torchvision, Detectron2 and Matterport), as data."""

from typing import NamedTuple

from keras_segattn.fields import Picture

DETECTRON_PREPROCESSING = Picture("BGR", mean=(103.53, 116.28, 123.675), fit="pad")
MATTERPORT_PREPROCESSING = Picture("RGB", mean=(123.7, 116.8, 103.9), fit="pad")


class Release(NamedTuple):
    """The conventions of a release.

    Attributes:
        anchor_rounding: rounding of the anchors' corners.
        aligned: whether RoIAlign shifts by half a pixel.
        sampling_ratio: number of RoIAlign's samples per bin and axis; 0 adapts to the region.
        level_rounding: rounding of the pyramid level of a region.
        stride_in_1x1: whether the ResNet's strides are in the first 1×1 convolutions.
        padding: padding of the ResNet's first pooling.
        epsilon: epsilon of batch normalisation; `None` for the backbone's own.
        with_background: whether boxes and masks have an (unused) channel for class 0.
        proposal_convolutions: number of hidden layers of the proposal network.
        box_head: `"fully_connected"`, `"convolutional"` or `"matterport"`.
        normalise_pyramid: whether the pyramid's convolutions are followed by batch normalisation.
        normalise_masks: whether the mask head's convolutions are followed by batch normalisation.
        picture: normalisation of pictures; `None` if the backbone decides.
        min_proposal, min_detection: smallest side of a box that is kept, in pixels.
    """

    anchor_rounding: str | None = "nearest"
    aligned: bool = False
    sampling_ratio: int = 2
    level_rounding: str = "floor"
    stride_in_1x1: bool = False
    padding: str = "symmetric"
    epsilon: float | None = None
    with_background: bool = True
    proposal_convolutions: int = 1
    box_head: str = "fully_connected"
    normalise_pyramid: bool = False
    normalise_masks: bool = False
    picture: Picture | None = None
    min_proposal: float = 1e-3
    min_detection: float = 1e-2


RELEASES = {
    "torchvision": Release(),
    "torchvision_coco": Release(epsilon=0.0),  # the file of the first version trained on COCO
    "torchvision_v2": Release(
        proposal_convolutions=2, box_head="convolutional", normalise_pyramid=True, normalise_masks=True
    ),
    "detectron2": Release(
        anchor_rounding=None,
        aligned=True,
        sampling_ratio=0,
        stride_in_1x1=True,
        with_background=False,
        picture=DETECTRON_PREPROCESSING,
        min_proposal=1e-6,
        min_detection=0.0,
    ),
    "matterport": Release(
        anchor_rounding=None,
        aligned=True,
        level_rounding="round",
        stride_in_1x1=True,
        padding="valid",
        epsilon=1e-3,
        box_head="matterport",
        picture=MATTERPORT_PREPROCESSING,
        normalise_masks=True,
        min_proposal=0.0,
        min_detection=0.0,
    ),
}
