"""Pure functions on tensors."""

from keras_segattn.ops.bilinear import bilinear_kernel

__all__ = ["bilinear_kernel"]
