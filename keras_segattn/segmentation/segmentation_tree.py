"""A tree of regions from superpixels to the whole picture, and the best cover of the picture by its nodes."""

import heapq

import numpy as np

from keras_segattn.segmentation.superpixels import Borders


def merge_tree(regions: int, borders: Borders) -> np.ndarray:
    """Merge the two regions whose common border has the lowest mean contrast, until one is left.

    The heights of the merges are an ultrametric contour map, with the contrast of colours in place of the learned
    contours (gPb) that Farabet et al. 2013 took (section 4.3).

    Args:
        regions: number n of regions, which are connected by their borders.
        borders: borders between them.

    Returns:
        int64 `(2 n - 1,)`: the parent of every node, -1 for the root. The first n nodes are the regions; a parent has a
        larger number than its children.

    Raises:
        ValueError: if the borders do not connect all regions.

    Example:
        >>> merge_tree(3, Borders(np.array([[0, 1], [1, 2]]), np.array([4, 4]), np.array([0.5, 0.1])))
        array([ 4,  3,  3,  4, -1])
    """
    parents = np.full(2 * regions - 1, -1, "int64")
    # Node → neighbour → length of the common border, and sum of its contrasts.
    touching: dict[int, dict[int, tuple[float, float]]] = {node: {} for node in range(regions)}
    heap = []
    for (a, b), length, contrast in zip(borders.pairs.tolist(), borders.lengths, borders.contrasts, strict=True):
        touching[a][b] = touching[b][a] = float(length), float(length * contrast)
        heap.append((float(contrast), a, b))
    heapq.heapify(heap)
    for node in range(regions, 2 * regions - 1):
        while heap and not (heap[0][1] in touching and heap[0][2] in touching):  # a region was merged meanwhile
            heapq.heappop(heap)
        if not heap:
            raise ValueError(f"{len(touching)} of {regions} regions have no common border with others")
        _, a, b = heapq.heappop(heap)
        parents[[a, b]] = node
        neighbours: dict[int, tuple[float, float]] = {}
        for child, other in ((a, b), (b, a)):
            for neighbour, (length, contrast) in touching.pop(child).items():
                if neighbour != other:
                    del touching[neighbour][child]
                    before = neighbours.get(neighbour, (0.0, 0.0))
                    neighbours[neighbour] = before[0] + length, before[1] + contrast
        touching[node] = neighbours
        for neighbour, (length, contrast) in neighbours.items():
            touching[neighbour][node] = length, contrast
            heapq.heappush(heap, (contrast / length, neighbour, node))
    return parents


def node_sums(leaves: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Add up the values of each node's leaves.

    Args:
        leaves: floats `(n, ...)`, the values of the leaves.
        parents: int64 `(2 n - 1,)`, see `merge_tree`.

    Returns:
        Floats `(2 n - 1, ...)`.
    """
    sums = np.zeros((len(parents), *leaves.shape[1:]), leaves.dtype)
    sums[: len(leaves)] = leaves
    for node, parent in enumerate(parents[:-1]):
        sums[parent] += sums[node]
    return sums


def optimal_cover(costs: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Choose for every leaf the node of least cost among itself and its ancestors (Farabet et al. 2013, section 4.3).

    Args:
        costs: floats `(nodes,)`.
        parents: int64 `(nodes,)`, see `merge_tree`.

    Returns:
        int64 `(nodes,)`: the chosen node of every leaf and, for all other nodes, the choice among their ancestors. Of
        equal costs, the largest node wins.
    """
    chosen = np.arange(len(parents))
    for node in range(len(parents) - 2, -1, -1):
        above = chosen[parents[node]]
        if costs[above] <= costs[node]:
            chosen[node] = above
    return chosen
