import numpy as np
import pytest

from keras_segattn.visualize import image_grid


def test_pictures_stand_in_rows_on_white():
    images = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1).repeat(2, axis=1)
    page = np.asarray(image_grid(images, 2, scale=2, gap=1))
    assert page.shape == (4 + 1 + 4, 2 + 1 + 2, 3)
    assert (page[:4, :2] == 0).all()
    assert (page[:4, 3:] == 1).all()
    assert (page[5:, :2] == 2).all()
    assert (page[4] == 255).all()
    assert (page[5:, 3:] == 255).all()


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((2, 4, 4, 3)), {}, r"uint8 \(count, h, w, 1 or 3\), received float64"),
        (np.zeros((4, 4, 3), np.uint8), {}, r"received uint8 \(4, 4, 3\)"),
        (np.zeros((0, 4, 4, 3), np.uint8), {}, "expected pictures"),
        (np.zeros((2, 4, 4, 3), np.uint8), {"columns": 0}, "columns must be a positive integer"),
        (np.zeros((2, 4, 4, 3), np.uint8), {"scale": 0}, "scale must be a positive integer"),
    ],
)
def test_what_is_no_grid_is_named(images, options, message):
    with pytest.raises(ValueError, match=message):
        image_grid(images, **{"columns": 2, **options})
