"""Pure functions on tensors."""

from keras_segattn.ops.bilinear import bilinear_kernel
from keras_segattn.ops.grid_sample import dense_image_warp, grid_sample, resampler
from keras_segattn.ops.grids import (
    affine_grid,
    attention_matrix,
    projective_grid,
    rotation_matrix,
    thin_plate_spline_grid,
)

__all__ = [
    "affine_grid",
    "attention_matrix",
    "bilinear_kernel",
    "dense_image_warp",
    "grid_sample",
    "projective_grid",
    "resampler",
    "rotation_matrix",
    "thin_plate_spline_grid",
]
