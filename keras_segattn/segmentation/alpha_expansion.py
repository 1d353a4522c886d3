"""α-expansion (Boykov, Veksler & Zabih, PAMI 2001): labels of low Potts energy, by a sequence of minimum cuts.

The maximum flows are PyMaxflow's, a wrapper of the implementation by Boykov and Kolmogorov.
"""

from types import ModuleType

import numpy as np


def alpha_expansion(
    unary: np.ndarray, edges: np.ndarray, weights: np.ndarray, initial: np.ndarray | None = None
) -> np.ndarray:
    """Minimise a Potts energy by α-expansion (Boykov, Veksler & Zabih, PAMI 2001, figure 2).

    The energy is `Σ_i unary[i, l_i] + Σ_(i,j) weights_ij [l_i ≠ l_j]`. An expansion of label α lets every node either
    keep its label or take α, and finds the best of these labellings by a minimum cut. All labels are expanded in turn
    until no expansion lowers the energy. The result is exact for two labels, and within a factor of two of the
    minimum for more, if no unary energy is negative.

    Args:
        unary: energies `(nodes, labels)`, finite floats of any sign.
        edges: integers `(edges, 2)`, pairs of different nodes in any order; several edges of one pair add up.
        weights: finite floats `(edges,)` of at least 0, the energies of two different labels along the edges.
        initial: integers `(nodes,)` in `0..labels - 1`, the first labelling; the default is the least unary energy
            of each node.

    Returns:
        Labels `(nodes,)`, int64 in `0..labels - 1`.

    Raises:
        ValueError: if a shape, a type or a value is not as described.
        ModuleNotFoundError: if PyMaxflow is not installed.

    Example:
        >>> alpha_expansion(np.array([[0, 1], [1, 0.5]]), np.array([[0, 1]]), np.array([1.0]))
        array([0, 0])
    """
    unary, edges, weights = np.asarray(unary, "float64"), np.asarray(edges), np.asarray(weights, "float64")
    _check(unary, edges, weights)
    nodes, classes = unary.shape
    labels = unary.argmin(axis=1) if initial is None else _checked_labels(initial, nodes, classes)
    maxflow = _library()
    lowest = potts_energy(unary, edges, weights, labels)
    unchanged, label = 0, 0
    while nodes and unchanged < classes:
        proposal = _expansion(maxflow, unary, edges, weights, labels, label)
        energy = potts_energy(unary, edges, weights, proposal)
        if energy < lowest:
            labels, lowest, unchanged = proposal, energy, 0
        unchanged, label = unchanged + 1, (label + 1) % classes
    return labels


def potts_energy(unary: np.ndarray, edges: np.ndarray, weights: np.ndarray, labels: np.ndarray) -> float:
    """Return the energy that `alpha_expansion` minimises: `Σ_i unary[i, l_i] + Σ_(i,j) weights_ij [l_i ≠ l_j]`.

    Args:
        unary: floats `(nodes, labels)`.
        edges: integers `(edges, 2)`, pairs of nodes.
        weights: floats `(edges,)`.
        labels: integers `(nodes,)` in `0..labels - 1`.

    Example:
        >>> potts_energy(np.array([[0, 1], [1, 0.5]]), np.array([[0, 1]]), np.array([1.0]), np.array([0, 1]))
        1.5
    """
    own = unary[np.arange(len(labels)), labels].sum()
    return float(own + weights[labels[edges[:, 0]] != labels[edges[:, 1]]].sum())


def _expansion(
    maxflow: ModuleType, unary: np.ndarray, edges: np.ndarray, weights: np.ndarray, labels: np.ndarray, label: int
) -> np.ndarray:
    """Return the best labelling in which every node has its own label or `label`.

    Node `i` is on the sink's side of the cut if it takes the label. The energy of an edge is `both_keep` if both nodes
    keep their labels, `j_takes` or `i_takes` if one of them takes the new one, and 0 if both take it. It is written as
    one term of node `i`, one of node `j`, and one capacity that is cut if `i` keeps its label and `j` does not
    (Kolmogorov & Zabih, PAMI 2004, theorem 4.1).
    """
    nodes = len(labels)
    i, j = edges[:, 0], edges[:, 1]
    both_keep = weights * (labels[i] != labels[j])
    j_takes, i_takes = weights * (labels[i] != label), weights * (labels[j] != label)
    takes = unary[:, label] - unary[np.arange(nodes), labels]  # relative to keeping the own label
    takes += np.bincount(i, i_takes - both_keep, nodes) - np.bincount(j, i_takes, nodes)
    graph = maxflow.GraphFloat(nodes, len(edges))
    numbers = graph.add_nodes(nodes)
    graph.add_edges(i, j, j_takes + i_takes - both_keep, np.zeros(len(edges)))
    graph.add_grid_tedges(numbers, np.maximum(takes, 0), np.maximum(-takes, 0))
    graph.maxflow()
    return np.where(graph.get_grid_segments(numbers), label, labels)


def _library() -> ModuleType:
    """Import PyMaxflow, or say how to install it."""
    try:
        import maxflow
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("α-expansion needs `pip install keras-segattn[labelling]` (PyMaxflow)") from error
    return maxflow


def _check(unary: np.ndarray, edges: np.ndarray, weights: np.ndarray) -> None:
    """Raise `ValueError` unless the three arrays describe an energy."""
    if unary.ndim != 2 or unary.shape[1] < 1 or not np.isfinite(unary).all():
        raise ValueError(f"unary must be finite numbers (nodes, labels), received {_shown(unary)}")
    if edges.ndim != 2 or edges.shape[1] != 2 or not np.issubdtype(edges.dtype, np.integer):
        raise ValueError(f"edges must be integers (edges, 2), received {_shown(edges)}")
    if edges.size and not 0 <= edges.min() <= edges.max() < len(unary):
        raise ValueError(f"edges must join nodes 0..{len(unary) - 1}, received {edges.min()}..{edges.max()}")
    if (edges[:, 0] == edges[:, 1]).any():
        raise ValueError(f"an edge must join two different nodes, received {edges[edges[:, 0] == edges[:, 1]][0]}")
    if weights.shape != edges.shape[:1] or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"weights must be {len(edges)} finite numbers of at least 0, received {_shown(weights)}")


def _checked_labels(initial: np.ndarray, nodes: int, classes: int) -> np.ndarray:
    """Return the first labelling as int64, or raise `ValueError`."""
    labels = np.asarray(initial)
    if labels.shape != (nodes,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"initial must be integers ({nodes},), received {_shown(labels)}")
    if nodes and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"initial must be labels 0..{classes - 1}, received {labels.min()}..{labels.max()}")
    return labels.astype("int64")


def _shown(array: np.ndarray) -> str:
    """Describe an array in an error message: type, shape and range."""
    limits = f" of {array.min()}..{array.max()}" if array.size else ""
    return f"{array.dtype} {array.shape}{limits}"
