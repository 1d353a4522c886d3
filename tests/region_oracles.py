"""Readable NumPy forms of the operators on boxes and regions, one box and one pixel at a time."""

import math
from fractions import Fraction

import numpy as np


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union if union > 0 else 0.0


def greedy_nms(boxes, scores, threshold, most, classes=None, score_threshold=-math.inf):
    """Return the indices of the boxes that are kept, in order of descending score."""
    order = sorted((i for i in range(len(scores)) if scores[i] > score_threshold), key=lambda i: (-scores[i], i))
    kept = []
    for i in order:
        rivals = (k for k in kept if classes is None or classes[k] == classes[i])
        if all(not iou(boxes[k], boxes[i]) > threshold for k in rivals):
            kept.append(i)
    return kept[:most]


def bilinear(image, y, x):
    """Interpolate the value at a position; it is 0 more than a pixel outside (torchvision's kernel)."""
    height, width = image.shape[:2]
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(image.shape[-1])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    dy, dx = y - y0, x - x0
    above = image[y0, x0] * (1 - dx) + image[y0, x1] * dx
    below = image[y1, x0] * (1 - dx) + image[y1, x1] * dx
    return above * (1 - dy) + below * dy


def roi_align(image, box, cells, scale, ratio, aligned):
    x1, y1, x2, y2 = (v * scale - (0.5 if aligned else 0) for v in box)
    height, width = y2 - y1, x2 - x1
    if not aligned:
        height, width = max(height, 1), max(width, 1)
    down, across = (ratio or math.ceil(extent / cells) for extent in (height, width))
    out = np.zeros((cells, cells, image.shape[-1]))
    for p in range(cells):
        for q in range(cells):
            for i in range(down):
                for j in range(across):
                    y = y1 + (p + (i + 0.5) / down) * height / cells
                    x = x1 + (q + (j + 0.5) / across) * width / cells
                    out[p, q] += bilinear(image, y, x)
    return out / max(down * across, 1)


def half_away(x):
    return (1 if x >= 0 else -1) * math.floor(abs(x) + Fraction(1, 2))


def crop_and_warp(image, box, size, padding, mode):
    """Compute R-CNN's crop as the authors' `rcnn_im_crop.m` describes it, in exact fractions, from a box of edges."""
    x1, y1, x2, y2 = map(Fraction, (box[0] + 1, box[1] + 1, box[2], box[3]))  # inclusive, counted from 1
    half = [(x2 - x1 + 1) / 2, (y2 - y1 + 1) / 2]
    centre = [x1 + half[0], y1 + half[1]]
    if mode == "square":
        half = [max(half)] * 2
    out = np.zeros((size, size, image.shape[-1]))
    window = [x1, y1, x2, y2]
    if padding or mode == "square":
        scale = Fraction(size, size - 2 * padding)
        window = [c + sign * h * scale for sign in (-1, 1) for c, h in zip(centre, half, strict=True)]
    window = [half_away(v) for v in window]
    spans = []
    for first, last, pixels in ((window[0], window[2], image.shape[1]), (window[1], window[3], image.shape[0])):
        whole, start, end = last - first + 1, max(1, first), min(pixels, last)
        if end < start:
            return out
        pad = half_away(Fraction(max(0, 1 - first) * size, whole))
        extent = min(half_away(Fraction((end - start + 1) * size, whole)), size - pad)
        spans.append((pad, extent, start - 1, end - start + 1))
    (left, wide, x0, columns), (top, tall, y0, rows) = spans
    clipped = image[y0 : y0 + rows, x0 : x0 + columns]
    for i in range(tall):
        for j in range(wide):
            y, x = (i + 0.5) * rows / tall - 0.5, (j + 0.5) * columns / wide - 0.5
            out[top + i, left + j] = bilinear(clipped, min(max(y, 0), rows - 1), min(max(x, 0), columns - 1))
    return out


def roi_pool(image, box, cells, scale):
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (int(half_away(v * scale)) for v in box)
    tall, wide = max(y2 - y1 + 1, 1) / cells, max(x2 - x1 + 1, 1) / cells
    out = np.zeros((cells, cells, image.shape[-1]))
    for p in range(cells):
        for q in range(cells):
            rows = slice(*(min(max(v + y1, 0), height) for v in (math.floor(p * tall), math.ceil((p + 1) * tall))))
            columns = slice(*(min(max(v + x1, 0), width) for v in (math.floor(q * wide), math.ceil((q + 1) * wide))))
            part = image[rows, columns]
            if part.size:
                out[p, q] = part.max(axis=(0, 1))
    return out


def roi_warp(image, box, cells, scale, quantize):
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (half_away(v * scale) if quantize else v * scale for v in box)
    out = np.zeros((cells, cells, image.shape[-1]))
    for p in range(cells):
        for q in range(cells):
            y, x = y1 + p * max(y2 - y1, 0) / cells, x1 + q * max(x2 - x1, 0) / cells
            if -0.5 <= y <= height - 0.5 and -0.5 <= x <= width - 0.5:
                out[p, q] = bilinear(image, y, x)
    return out
