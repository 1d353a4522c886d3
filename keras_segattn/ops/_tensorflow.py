"""Faster kernels that only TensorFlow has. Operators choose them by themselves; export never traces them.

XLA cannot compile them. In functions with `jit_compile=True` operators use their portable form, which is slower. So
layers with such operators set `supports_jit` to false, and Keras leaves XLA off unless it is asked for.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import tensorflow as tf

from keras_segattn.ops.grid_sample import portable_sample


def weighted_sum(pixels: Any, indices: Any, weights: Any) -> Any:
    """Compute M weighted sums of K rows of a table each, as one product with a sparse matrix.

    The gradient for the table is the product with the transposed matrix, which adds up all contributions; the weights
    have no gradient.

    Args:
        pixels: float32 `(N, channels)`.
        indices: int32 `(M, K)`, rows of the table.
        weights: float32 `(M, K)`.

    Returns:
        `(M, channels)`.
    """
    if pixels.shape.num_elements() and indices.shape.num_elements():
        return _weighted_sum(pixels, indices, weights)
    # TensorFlow's kernels divide by the number of rows, which would end the process if there is none.
    return tf.cond(
        tf.logical_and(tf.size(pixels) > 0, tf.size(indices) > 0),
        lambda: _weighted_sum(pixels, indices, weights),
        lambda: tf.zeros((tf.shape(indices)[0], pixels.shape[-1]), pixels.dtype),
    )


@tf.custom_gradient
def _weighted_sum(pixels: Any, indices: Any, weights: Any) -> tuple[Any, Callable[[Any], tuple[Any, None, None]]]:
    def matrix() -> Any:
        # Built again for the gradient: TensorFlow cannot hand a variant tensor from the forward to the backward pass.
        count, terms = tf.unstack(tf.shape(indices, tf.int64))
        rows = tf.repeat(tf.range(count), terms)
        places = tf.stack([rows, tf.cast(tf.reshape(indices, (-1,)), tf.int64)], axis=1)
        shape = tf.stack([count, tf.shape(pixels, tf.int64)[0]])
        values = tf.reshape(weights, (-1,))
        return tf.raw_ops.SparseTensorToCSRSparseMatrix(indices=places, values=values, dense_shape=shape)

    def gradient(upstream: Any) -> tuple[Any, None, None]:
        return tf.raw_ops.SparseMatrixMatMul(a=matrix(), b=upstream, transpose_a=True), None, None

    return tf.raw_ops.SparseMatrixMatMul(a=matrix(), b=pixels), gradient


def compiled_sample(images: Any, points: Any, settings: tuple[str, str, bool | None]) -> Any:
    """Run `portable_sample` as one kernel compiled by XLA. So is each of its two gradients, run only where it is used.

    Args:
        images: `(batch, height, width, channels)`.
        points: `(batch, …, 2)`.
        settings: interpolation, padding and align_corners.
    """
    images, points = tf.convert_to_tensor(images), tf.convert_to_tensor(points)
    return _compiled_sample(settings, tuple(images.shape[1:]), len(points.shape))(images, points)


@cache
def _compiled_sample(
    settings: tuple[str, str, bool | None], shape: tuple[int | None, ...], rank: int
) -> Callable[[Any, Any], Any]:
    # One compiled function per image shape and rank of the points: a single function with reduced retracing would
    # relax both to unknown.
    def compiled(function: Callable[..., Any]) -> Any:
        return tf.function(function, jit_compile=True, reduce_retracing=True)

    def sampled(images: Any, points: Any, wide: bool = False) -> Any:
        points = tf.ensure_shape(points, (*[None] * (rank - 1), 2))
        return portable_sample(tf.ensure_shape(images, (None, *shape)), points, *settings, wide)

    def gradient_of(place: int, wide: bool) -> Any:
        def gradient(images: Any, points: Any, upstream: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch((images, points)[place])
                found = sampled(images, points, wide)
            return tape.gradient(found, (images, points)[place], upstream, unconnected_gradients="zero")

        return compiled(gradient)

    forward = compiled(sampled)
    to_images, to_points = gradient_of(0, wide=True), gradient_of(1, wide=False)

    @tf.custom_gradient
    def sample(images: Any, points: Any) -> tuple[Any, Callable[[Any], tuple[Any, Any]]]:
        def gradient(upstream: Any) -> tuple[Any, Any]:
            return to_images(images, points, upstream), to_points(images, points, upstream)

        return forward(images, points), gradient

    return sample
