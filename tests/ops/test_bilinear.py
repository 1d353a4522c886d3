import numpy as np
import pytest

from keras_segattn.ops import bilinear_kernel


def test_kernel_of_the_release():
    # Factor 2 and the odd kernel of FCN-AlexNet's rule, written out by hand.
    np.testing.assert_array_equal(bilinear_kernel(4)[1], np.array([1, 3, 3, 1], "float32") * 3 / 16)
    np.testing.assert_array_equal(bilinear_kernel(3), np.outer([0.5, 1, 0.5], [0.5, 1, 0.5]))


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_shifted_copies_sum_to_one(factor):
    kernel = bilinear_kernel(2 * factor)
    covering = kernel.reshape(2, factor, 2, factor).sum(axis=(0, 2))
    np.testing.assert_allclose(covering, 1, rtol=1e-6)  # float32 products


@pytest.mark.one_backend
@pytest.mark.parametrize("size", [0, -1, 2.0, True, "4"])
def test_bad_size(size):
    with pytest.raises(ValueError, match="size must be a positive integer, received"):
        bilinear_kernel(size)
