"""Mask R-CNN against torchvision's, stage by stage, with random weights and statistics loaded from its file."""

import re

import keras
import numpy as np
import pytest
from harness import images
from torch_oracles import relative_difference

import keras_segattn
from keras_segattn import weights

# Rounding of sums of a few thousand float32 products, accumulated in another order in fifty layers.
LOGIT_TOLERANCE = 1e-3
# The same differences in pixels, after the exponential of a refinement.
BOX_TOLERANCE = 0.5
PROBABILITY_TOLERANCE = 1e-3
# Fewer proposals than by default: running the heads on each of them takes most of this test's time.
PROPOSALS = 100
SIZES = [(128, 192), *(pytest.param(size, marks=pytest.mark.thorough) for size in ((192, 128), (160, 224)))]
BUILDERS = {"maskrcnn_resnet50_fpn": "torchvision", "maskrcnn_resnet50_fpn_v2": "torchvision_v2"}
FIRST, SECOND = BUILDERS


# The second version differs in its heads.
@pytest.fixture(scope="module", params=[FIRST, pytest.param(SECOND, marks=pytest.mark.thorough)])
def both(request, tmp_path_factory):
    """torchvision's model, ours with its weights, and the module that runs torchvision's."""
    import torchvision_detection

    oracle, torch = torchvision_detection.mask_rcnn(request.param, rpn_post_nms_top_n_test=PROPOSALS)
    path = tmp_path_factory.mktemp("weights") / f"{request.param}.pth"
    torch.save(oracle.state_dict(), path)
    ours = keras_segattn.MaskRCNN(variant=BUILDERS[request.param], proposals={"count": PROPOSALS})
    report = weights.load(ours, path)
    assert report.complete, report
    return oracle, ours, torchvision_detection


def stages(model):
    """Model of every intermediate result that the oracle gives, by name."""
    tensors = model.get_layer("proposals").input
    levels = len(tensors) // 3
    return keras.Model(
        model.input,
        {
            "logits": tensors[:levels],
            "deltas": tensors[levels : 2 * levels],
            "proposals": model.get_layer("proposals").output[0],
            "count": model.get_layer("proposals").output[1],
            "class_logits": model.get_layer("box_logits").output,
            "box_deltas": model.get_layer("box_deltas").output,
            "mask_logits": model.get_layer("mask_logits").output,
            "detections": model.output,
        },
    )


@pytest.mark.parity
@pytest.mark.xdist_group("torchvision_detection")
@pytest.mark.parametrize("size", SIZES)
def test_every_stage_is_torchvisions(both, size):
    oracle, model, detection = both
    if size != SIZES[0] and "box_fc2" not in {layer.name for layer in model.layers}:
        pytest.skip("the second version differs in its heads, whatever the size")
    x = images((*size, 3), batch=1, seed=size[0])
    expected = detection.run(oracle, x)
    found = keras.tree.map_structure(np.asarray, stages(model)(x, training=False))
    for name in ("logits", "deltas"):
        for ours, theirs in zip(found[name], expected[name], strict=True):
            assert relative_difference(ours, theirs) < LOGIT_TOLERANCE
    (proposals,), count = expected["proposals"], int(found["count"][0])
    assert count == len(proposals) > 50
    # Two proposals whose scores differ in the last bit may change places.
    distance = np.abs(found["proposals"][0, :count, None] - proposals[None]).max(axis=-1)
    order = distance.argmin(axis=0)
    assert sorted(order) == list(range(count))
    assert distance.min(axis=0).max() < BOX_TOLERANCE
    for name in ("class_logits", "box_deltas"):
        assert relative_difference(found[name][order], expected[name]) < LOGIT_TOLERANCE
    (theirs,), ours = expected["detections"], found["detections"]
    count = int(ours["count"][0])
    assert count == len(theirs["boxes"]) > 10
    np.testing.assert_allclose(ours["scores"][0, :count], theirs["scores"], atol=PROBABILITY_TOLERANCE)
    # Two detections may change places, too.
    distance = np.abs(ours["boxes"][0, :count, None] - theirs["boxes"][None]).max(axis=-1)
    distance[ours["classes"][0, :count, None] != theirs["labels"][None]] = np.inf
    order = distance.argmin(axis=0)
    assert sorted(order) == list(range(count))
    assert distance.min(axis=0).max() < BOX_TOLERANCE
    assert relative_difference(found["mask_logits"][order], expected["mask_logits"]) < LOGIT_TOLERANCE
    np.testing.assert_allclose(ours["scores"][0, order], theirs["scores"], atol=PROBABILITY_TOLERANCE)
    np.testing.assert_allclose(ours["masks"][0, order], theirs["masks"][:, 0], atol=PROBABILITY_TOLERANCE)
    assert not any(ours[name][0, count:].any() for name in ("boxes", "scores", "classes", "masks"))


def older_name(name):
    """Name that torchvision gave a tensor when the file was written."""
    name = re.sub(r"(inner_blocks|layer_blocks)\.(\d)\.0\.", r"\1.\2.", name)
    name = re.sub(r"mask_head\.(\d)\.0\.", lambda found: f"mask_head.mask_fcn{int(found[1]) + 1}.", name)
    return name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")


@pytest.mark.parity
@pytest.mark.xdist_group("torchvision_detection")
def test_released_files_have_older_names(both, tmp_path):
    """The released COCO file of the first version predates torchvision's present module names."""
    import torch

    oracle, model, _ = both
    if "rpn_conv2" in {layer.name for layer in model.layers}:
        pytest.skip("the second version was released with the present names")
    older = {older_name(name): value for name, value in oracle.state_dict().items() if "num_batches" not in name}
    torch.save(older, tmp_path / "released.pth")
    report = weights.load(model, tmp_path / "released.pth")
    assert report.complete, report
