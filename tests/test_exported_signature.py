"""Signatures of exported models, in both forms they are stored in."""

from pathlib import Path

import numpy as np
import pytest
from keras_segattn.exported_signature import open_signature

RELEASED = Path(__file__).parents[1] / "savedmodels" / "stn_rotated"
PHONE = RELEASED / "stn_rotated_float16.tflite"
# The file for phones computes with weights of float16, among logits of about 10.
HALF = 0.05


def test_both_forms_give_the_same_for_any_batch():
    served, phone = open_signature(RELEASED / "1"), open_signature(PHONE)
    assert served.inputs == {"image": (None, 28, 28, 1)}
    assert phone.inputs == {"image": (1, 28, 28, 1)}
    assert set(served.outputs) == set(phone.outputs) == {"logits", "theta", "transformed"}
    pictures = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    expected = served.run({"image": pictures})
    found = phone.run({"image": pictures.astype("float32") / 255})
    assert np.ptp(expected["logits"], axis=0).max() > 10 * HALF
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=HALF)


@pytest.mark.parametrize("path", [RELEASED / "1", PHONE], ids=["served", "phone"])
def test_a_missing_signature_is_named_with_those_there_are(path):
    with pytest.raises(ValueError, match=r"no signature 'decode', only .*serving_default"):
        open_signature(path, "decode")
