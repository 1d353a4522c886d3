import numpy as np
import pytest

from keras_segattn.visualize import palette


def test_many_classes_have_the_colours_of_the_voc_devkit():
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    known |= {255: (224, 224, 192)}
    for number, colour in known.items():
        assert tuple(palette(256)[number]) == colour


@pytest.mark.parametrize("classes", [1, 3, 8, 9, 21, 256])
def test_every_class_has_its_own_colour(classes):
    colours = palette(classes)
    assert colours.dtype == np.uint8
    assert len({tuple(colour) for colour in colours}) == classes


def test_few_classes_stay_apart_for_colour_blind_eyes():
    # Machado et al. 2009, severity 1, linear RGB: what deuteranopes and protanopes see.
    blindness = {
        "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    }
    colours = (palette(8) / 255.0) ** 2.2
    for matrix in blindness.values():
        seen = np.clip(colours @ np.transpose(matrix), 0, 1) ** (1 / 2.2)
        distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + np.eye(8)
        assert distance.min() > 0.15  # VOC's first eight come as close as 0.04


def test_wrong_number_of_classes():
    with pytest.raises(ValueError, match="classes must be a positive integer, received 0"):
        palette(0)
    with pytest.raises(ValueError, match=r"at most the 256 classes .* received classes=257"):
        palette(257)
