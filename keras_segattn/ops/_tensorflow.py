"""Kernels that only TensorFlow has, for operators that pick them by themselves; export never traces them.

XLA has no kernels for these: layers that may come here say that they cannot be compiled by it.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.ops.linalg.sparse import sparse_csr_matrix_ops as csr


@tf.custom_gradient
def weighted_sum(pixels: Any, indices: Any, weights: Any) -> tuple[Any, Callable[[Any], tuple[Any, None, None]]]:
    """Weighted sums of K rows each of a table, as one product with a sparse matrix.

    The gradient for the table is the product with the transposed matrix, which loses no update; there is none for
    the weights.

    Args:
        pixels: float32 `(N, channels)`.
        indices: int32 `(M, K)`, rows of the table.
        weights: float32 `(M, K)`.

    Returns:
        `(M, channels)`.
    """

    def matrix() -> Any:
        # Built again for the gradient: a variant tensor that crosses from one pass to the other is not supported.
        count, terms = tf.unstack(tf.shape(indices, tf.int64))
        rows = tf.repeat(tf.range(count), terms)
        places = tf.stack([rows, tf.cast(tf.reshape(indices, (-1,)), tf.int64)], axis=1)
        shape = tf.stack([count, tf.shape(pixels, tf.int64)[0]])
        return csr.sparse_tensor_to_csr_sparse_matrix(places, tf.reshape(weights, (-1,)), shape)

    def gradient(upstream: Any) -> tuple[Any, None, None]:
        return csr.sparse_matrix_mat_mul(matrix(), upstream, transpose_a=True), None, None

    return csr.sparse_matrix_mat_mul(matrix(), pixels), gradient
