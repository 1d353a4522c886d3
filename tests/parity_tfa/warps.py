"""The image warps of TensorFlow Addons, computed by our operators."""

import numpy as np
from keras import ops

from keras_segattn.ops import dense_image_warp, grid_sample, thin_plate_spline_grid
from keras_segattn.ops.grids import control_points, regular_grid

BATCH, HEIGHT, WIDTH, CHANNELS, POINTS = 3, 6, 5, 4, 11
SIZE = (7, 8)
# Both compute in float32, in different orders; Addons also solves the spline in float32.
TOLERANCE, SPLINE_TOLERANCE = 1e-5, 1e-4


def inputs():
    """Draw flows and points between pixels, on pixels and far outside the image, and offsets of control points."""
    random = np.random.default_rng(0)
    flow = random.normal(0, 3, (BATCH, HEIGHT, WIDTH, 2))
    flow[0] = flow[0].round()
    points = random.uniform(-4, 9, (BATCH, POINTS, 2))
    arrays = {"image": random.normal(size=(BATCH, HEIGHT, WIDTH, CHANNELS)), "flow": flow, "points": points}
    offsets = random.normal(0, 0.3, (BATCH, 16, 2))
    control = control_points((4, 4))
    grid = regular_grid(SIZE).reshape(-1, 2)
    arrays |= {
        "control": np.broadcast_to(control, offsets.shape),
        "values": control + offsets,
        "queries": np.broadcast_to(grid, (BATCH, *grid.shape)),
    }
    return {name: array.astype("float32") for name, array in arrays.items()}


def assert_equal(x, outputs):
    """Check that our warps equal those of Addons."""
    warped = dense_image_warp(x["image"], x["flow"])
    np.testing.assert_allclose(warped, outputs["dense_image_warp"], atol=TOLERANCE)
    # Points of Addons are (row, column) in pixels; our grid is (x, y) in -1..1.
    grid = 2 * x["points"][..., ::-1] / (np.array([WIDTH, HEIGHT], "float32") - 1) - 1
    sampled = ops.squeeze(grid_sample(x["image"], grid[:, None].astype("float32"), padding="border"), axis=1)
    np.testing.assert_allclose(sampled, outputs["interpolate_bilinear"], atol=TOLERANCE)
    splines = thin_plate_spline_grid(x["values"] - x["control"], SIZE)
    np.testing.assert_allclose(
        np.reshape(splines, outputs["interpolate_spline"].shape), outputs["interpolate_spline"], atol=SPLINE_TOLERANCE
    )
