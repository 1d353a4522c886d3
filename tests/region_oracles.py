"""Readable NumPy forms of the operators on boxes and regions, one box and one pixel at a time."""

import math

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
    return math.copysign(math.floor(abs(x) + 0.5), x)


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
