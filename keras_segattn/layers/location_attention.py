"""Location-aware attention (Chorowski et al., NIPS 2015, arXiv 1506.07503)."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_positive_integer
from keras_segattn.layers.additive_attention import AdditiveAttention, matmul_in_loop
from keras_segattn.ops.convolution import conv


@keras.saving.register_keras_serializable(package="keras_segattn")
class LocationAttention(AdditiveAttention):
    """Attention with scores v·tanh(s·W + h·U + f·V) (equations 8 and 9).

    The features f are the previous step's weights, convolved with learned filters.

    Args:
        units: width of the hidden layer.
        filters: number of filters.
        width: width of a filter in locations; odd, so that it has a centre.
        **kwargs: arguments of `AdditiveAttention`.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> cell = AttentionGRUCell(256, LocationAttention(512, filters=10, width=201))
    """

    needs_previous = True

    def __init__(self, units: int, filters: int = 10, width: int = 201, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        check_positive_integer("filters", filters)
        check_positive_integer("width", width)
        if width % 2 == 0:
            raise ValueError(f"width must be odd, received {width}")
        self.filters, self.width = filters, width

    def build(
        self, query_shape: tuple[int | None, ...], annotations_shape: tuple[int | None, ...], mask_shape: Any = None
    ) -> None:
        """Make the weights."""
        super().build(query_shape, annotations_shape)
        self.filter_kernel = self.add_weight(
            name="filter_kernel", shape=(self.width, 1, self.filters), initializer="glorot_uniform"
        )
        self.location_kernel = self.add_weight(
            name="location_kernel", shape=(self.filters, self.units), initializer="glorot_uniform"
        )

    def scores(self, query: Any, keys: Any, previous: Any) -> Any:
        """Compute v·tanh(s·W + keys + f·V). Before the first step there are no weights, and f is 0."""
        hidden = ops.matmul(query, self.query_kernel)[:, None] + keys
        if previous is not None:
            features = conv(previous[..., None], self.filter_kernel, padding="same")
            hidden = hidden + matmul_in_loop(features, self.location_kernel)
        return self._scored(hidden)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"filters": self.filters, "width": self.width}
