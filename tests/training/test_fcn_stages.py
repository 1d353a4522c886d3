import json
from functools import partial

import keras
import numpy as np
import pytest
from training_toys import ToyBatches

from keras_segattn.segmentation.fcn import FCN16s, FCN32s
from keras_segattn.training import train_fcn_stages

TINY = {"classes": 3, "backbone": "squeezenet1_1", "alpha": 0.05}


@pytest.mark.usefixtures("eagerly")
def test_each_stage_starts_from_the_last_with_a_hundredth_of_the_rate(tmp_path):
    keras.utils.set_random_seed(0)
    batches = ToyBatches(images=4)
    batches.image = np.repeat(np.repeat(batches.image, 4, axis=1), 4, axis=2)
    batches.mask = np.repeat(np.repeat(batches.mask, 4, axis=1), 4, axis=2)
    builders = [partial(FCN32s, **TINY), partial(FCN16s, **TINY)]
    coarse, fine = train_fcn_stages(
        builders, batches, epochs=[2, 1], learning_rate=0.01, run_dir=tmp_path, progress=False
    )
    assert [len(stage.history.history["loss"]) for stage in (coarse, fine)] == [2, 1]
    assert "score_fr" in fine.copied
    assert "score_pool4" not in fine.copied
    assert coarse.copied == ()
    rates = [
        json.loads((tmp_path / name / "settings.json").read_text())["optimizer"]["config"]["learning_rate"]
        for name in ("1-fcn32s", "2-fcn16s")
    ]
    assert rates == pytest.approx([1e-2, 1e-4])
    # The second stage moved each weight by little more than rate × gradient, so it did not start from random weights.
    for before, after in zip(
        coarse.model.get_layer("conv1").get_weights(), fine.model.get_layer("conv1").get_weights(), strict=True
    ):
        np.testing.assert_allclose(before, after, atol=1e-2)

    # Finished stages are loaded, not trained again.
    again = train_fcn_stages(builders, batches, epochs=[2, 1], learning_rate=0.01, run_dir=tmp_path, progress=False)
    for a, b in zip(again[-1].model.get_weights(), fine.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_arguments():
    with pytest.raises(ValueError, match="received 2 for 1 stages"):
        train_fcn_stages([FCN32s], ToyBatches(), epochs=[1, 2])
    with pytest.raises(ValueError, match="received 0 for 0 stages"):
        train_fcn_stages([], ToyBatches(), epochs=1)
    with pytest.raises(ValueError, match="learning_rate_divisor must be positive"):
        train_fcn_stages([FCN32s], ToyBatches(), epochs=1, learning_rate_divisor=0)
