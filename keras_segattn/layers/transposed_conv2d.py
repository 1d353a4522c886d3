"""The transposed convolution, with the paddings that networks outside Keras were trained with."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import is_integer


@keras.saving.register_keras_serializable(package="keras_segattn")
class TransposedConv2D(keras.layers.Conv2DTranspose):
    """Learned up-sampling: every input pixel adds a multiple of the kernel to the output, a stride further each time.

    One operation, many names. It is the transpose of the matrix of a convolution with the same stride, hence
    *transposed* convolution, and so the gradient of that convolution by its input, hence *backward strided* (Long et
    al. 2015). It equals a convolution with the flipped kernel over the input with `stride - 1` zeros between its
    pixels, hence *fractionally strided* (Radford et al. 2016). It does not undo a convolution, although most papers, at
    first these two as well, say *deconvolution*; *upconvolution* means the same.

    Kernel 5, stride 2, in one dimension: copies of the kernel `a b c d e`, weighted by `x` and `y`, overlap and add::

        input        x           y
                    ax  bx  cx  dx  ex
                            ay  by  cy  dy  ey
        output      ax  bx cx+ay dx+by ex+cy dy  ey
        padding 2    -   -   ^   ^   ^   ^   -       with output_padding 1: the doubled size

    From n pixels the layer makes `(n - 1) · stride + kernel`, less `padding` on both sides, plus `output_padding` after
    the last. For this kernel Keras's `"same"` crops the output by 1 pixel before and 2 after, cuDNN (Theano, PyTorch)
    by 2 before and 1 after, so that a network trained with one is shifted by one pixel per layer when run with the
    other. Where the stride does not divide the kernel, as here, pixels receive 3 and 2 copies in turn: the checkerboard
    of Odena et al. (2016, doi 10.23915/distill.00003).

    Args:
        filters: number of output channels.
        kernel_size: height and width of the kernel.
        strides: factor by which height and width grow.
        padding: number of rows and columns cut off on every side, as in PyTorch.
        output_padding: number of these rows and columns that stay at the bottom and at the right; at most `padding`.
        **kwargs: the other arguments of `keras.layers.Conv2DTranspose`.

    Call arguments:
        inputs: `(batch, height, width, channels)`.

    Output:
        `(batch, (height - 1) · strides - 2 · padding + kernel_size + output_padding, …, filters)`.

    Raises:
        ValueError: if a padding is negative or not an integer, or `output_padding` is larger than `padding`.

    Example:
        >>> TransposedConv2D(3, 5, 2, padding=2, output_padding=1)(keras.ops.ones((1, 4, 4, 8))).shape
        TensorShape([1, 8, 8, 3])
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = 1,
        padding: int = 0,
        output_padding: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, kernel_size, strides, padding="valid", data_format="channels_last", **kwargs)
        for name, value in (("padding", padding), ("output_padding", output_padding)):
            if not is_integer(value) or value < 0:
                raise ValueError(f"{name} must be a non-negative integer, received {value!r}")
        if output_padding > padding:
            raise ValueError(f"output_padding must be at most padding = {padding}, received {output_padding}")
        self.crop = (padding, padding - output_padding)

    def call(self, inputs: Any) -> Any:
        """Add up all copies of the kernel, and crop the result."""
        outputs = super().call(ops.cast(inputs, self.compute_dtype))
        if self.crop == (0, 0):
            return outputs
        before, after = self.crop
        kept = slice(before, -after if after else None)
        return outputs[:, kept, kept, :]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the cropped output."""
        batch, height, width, channels = super().compute_output_shape(input_shape)
        height, width = (None if size is None else size - sum(self.crop) for size in (height, width))
        return (batch, height, width, channels)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        config = super().get_config()
        del config["data_format"]
        before, after = self.crop
        return config | {"padding": before, "output_padding": before - after}
