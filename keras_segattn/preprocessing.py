"""What turns a picture into a network's input: the part of the contract that travels with every model."""

from dataclasses import dataclass
from typing import Any, Literal

from keras import ops


@dataclass(frozen=True)
class Preprocessing:
    """Image normalisation of one family of weights: channel order, then `(x - mean) / std`.

    Args:
        channels: order in which the network expects the channels. The images given are always RGB.
        mean: one value per channel in the network's order, in units of 0..255 intensities.
        std: one value per channel in the network's order, in the same units.
        size: (height, width) of the published recipe, or `None` where any size is usual.

    Example:
        >>> caffe = Preprocessing("BGR", mean=(104.00699, 116.66877, 122.67892))
        >>> network_input = caffe(rgb_images)
    """

    channels: Literal["RGB", "BGR"] = "RGB"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Reject a channel order or statistics that cannot be applied."""
        if self.channels not in ("RGB", "BGR"):
            raise ValueError(f"channels must be 'RGB' or 'BGR', received {self.channels!r}")
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean and std need one value per channel, received {self.mean} and {self.std}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, received {self.std}")

    def __call__(self, images: Any) -> Any:
        """Normalise RGB images.

        Args:
            images: `(..., channels)`, any numeric dtype, RGB intensities 0..255.

        Returns:
            float32 tensor of the same shape, in the network's channel order.

        Raises:
            ValueError: if the last dimension is not the number of channels of `mean`.
        """
        if images.shape[-1] != len(self.mean):
            raise ValueError(f"expected {len(self.mean)} channels last, received shape {tuple(images.shape)}")
        x = ops.cast(images, "float32")
        if self.channels == "BGR":
            x = ops.flip(x, axis=-1)
        if any(self.mean):
            x = x - ops.convert_to_tensor(self.mean, dtype="float32")
        if any(scale != 1.0 for scale in self.std):
            x = x / ops.convert_to_tensor(self.std, dtype="float32")
        return x


# What torchvision's and most of timm's weights expect.
IMAGENET = Preprocessing("RGB", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), size=(224, 224))
