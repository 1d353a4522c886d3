"""Exact greedy non-maximum suppression with a fixed number of outputs."""

from typing import Any

from keras import ops

from keras_segattn.arguments import check_positive_integer
from keras_segattn.ops.boxes import box_iou
from keras_segattn.ops.dtypes import at_least_float32

# Number of candidates compared at a time. The cost of a block grows with its square; each step has a fixed cost too.
BLOCK = 256


def nms(
    boxes: Any,
    scores: Any,
    iou_threshold: float,
    max_output: int,
    classes: Any = None,
    score_threshold: float | None = None,
    offset: float = 0.0,
) -> tuple[Any, Any]:
    """Suppress boxes greedily: in descending order of score, keep each box that no better kept box overlaps.

    Blocks of sorted candidates are compared with the boxes kept before and then among themselves. Within a block the
    greedy rule "kept unless a better *kept* one overlaps" is iterated to its fixed point, which is unique.

    Args:
        boxes: `(batch, N, 4)`.
        scores: `(batch, N)`; among equal scores the earlier box counts as better. NaN and −infinity are never selected.
        iou_threshold: largest IoU with a better kept box that a kept box may have.
        max_output: number K of boxes that are returned.
        classes: int `(batch, N)`; only boxes of equal class suppress each other. `None`: all boxes do.
        score_threshold: boxes with at most this score are never selected.
        offset: 1.0 for the convention in which a box of one pixel has x2 = x1.

    Returns:
        Indices int32 `(batch, K)` in descending order of score, and the number of kept boxes int32 `(batch,)`; all
        later indices are 0.

    Raises:
        ValueError: if `max_output` is not a positive integer or the shapes do not fit each other.

    Example:
        >>> indices, count = nms(boxes, scores, iou_threshold=0.5, max_output=100)
    """
    check_positive_integer("max_output", max_output)
    candidates = scores.shape[1]
    if candidates is None or boxes.shape[1] != candidates or boxes.shape[-1] != 4:
        raise ValueError(
            "expected boxes (batch, N, 4) and scores (batch, N) of a known N, received "
            f"{tuple(boxes.shape)} and {tuple(scores.shape)}"
        )
    if candidates == 0:
        batch = ops.shape(scores)[0]
        return ops.zeros((batch, max_output), "int32"), ops.zeros((batch,), "int32")
    boxes, scores = at_least_float32(boxes), at_least_float32(scores)
    lowest = -float("inf")
    selectable = scores > (lowest if score_threshold is None else score_threshold)  # false for NaN
    ranked, order = ops.top_k(ops.where(selectable, scores, lowest), candidates)
    block = min(BLOCK, candidates)
    blocks = -(-candidates // block)
    padding = ((0, 0), (0, blocks * block - candidates))
    valid = ops.pad(ranked > lowest, padding, constant_values=False)
    ranked_boxes = ops.pad(ops.take_along_axis(boxes, order[..., None], axis=1), (*padding, (0, 0)))
    ranked_classes = None if classes is None else ops.pad(ops.take_along_axis(classes, order, axis=1), padding)

    def step(start: Any, kept: Any, count: Any) -> tuple[Any, Any, Any]:
        """Compare one block; `kept` holds the ranks of kept boxes, and `blocks · block` in unused entries."""
        here, there = start + ops.arange(block), ops.minimum(kept, blocks * block - 1)
        alive = ops.take(valid, here, axis=1)
        if blocks > 1:
            before = ops.take_along_axis(ranked_boxes, there[..., None], axis=1)
            overlap = box_iou(before, ops.take(ranked_boxes, here, axis=1), offset) > iou_threshold
            if ranked_classes is not None:
                known = ops.take_along_axis(ranked_classes, there, axis=1)
                same = known[:, :, None] == ops.take(ranked_classes, here, axis=1)[:, None, :]
                overlap = ops.logical_and(overlap, same)
            filled = ops.arange(max_output)[None, :] < count[:, None]
            overlap = ops.logical_and(overlap, filled[:, :, None])
            alive = ops.logical_and(alive, ops.logical_not(ops.any(overlap, axis=1)))
        own = ops.take(ranked_boxes, here, axis=1)
        conflict = box_iou(own, own, offset) > iou_threshold
        if ranked_classes is not None:
            own_classes = ops.take(ranked_classes, here, axis=1)
            conflict = ops.logical_and(conflict, own_classes[:, :, None] == own_classes[:, None, :])
        earlier = ops.arange(block)[:, None] < ops.arange(block)[None, :]
        conflict = ops.cast(ops.logical_and(conflict, earlier), "float32")
        chosen = _fixed_point(ops.cast(alive, "float32"), conflict)
        # The largest keys are at the positions of the boxes kept before and in this block, in order.
        total = max_output + block
        flags = ops.concatenate([ops.cast(ops.arange(max_output)[None, :] < count[:, None], "float32"), chosen], axis=1)
        ranks = ops.concatenate([kept, ops.broadcast_to(here[None, :], ops.shape(chosen))], axis=1)
        keys, positions = ops.top_k(flags * ops.cast(total - ops.arange(total), "float32"), max_output)
        kept = ops.where(keys > 0, ops.take_along_axis(ranks, positions, axis=1), blocks * block)
        return start + block, kept, ops.minimum(count + ops.cast(ops.sum(chosen, axis=1), "int32"), max_output)

    def unfinished(start: Any, _kept: Any, count: Any) -> Any:
        """Return whether any image has both an unused entry and a candidate left."""
        first = ops.take(valid, ops.minimum(start, blocks * block - 1), axis=1)
        wanted = ops.any(ops.logical_and(first, count < max_output))
        return ops.logical_and(start < blocks * block, wanted)

    count = ops.zeros_like(order[:, 0], dtype="int32")
    state = (ops.array(0, "int32"), ops.zeros_like(count)[:, None] + ops.full((max_output,), blocks * block, "int32"))
    if blocks == 1:
        _, kept, count = step(*state, count)
    else:
        _, kept, count = ops.while_loop(unfinished, step, (*state, count))
    filled = ops.arange(max_output)[None, :] < count[:, None]
    indices = ops.take_along_axis(ops.cast(order, "int32"), ops.minimum(kept, candidates - 1), axis=1)
    return ops.where(filled, indices, 0), count


def _fixed_point(alive: Any, conflict: Any) -> Any:
    """Choose greedily among candidates `(batch, N)`, where `conflict[b, i, j]` says that i, if kept, excludes j."""

    def step(kept: Any, _changed: Any) -> tuple[Any, Any]:
        excluded = ops.matmul(kept[:, None, :], conflict)[:, 0]
        updated = alive * ops.cast(excluded < 0.5, "float32")
        return updated, ops.any(updated != kept)

    kept, _ = ops.while_loop(lambda _kept, changed: changed, step, (alive, ops.any(alive > 0)))
    return kept
