"""Training of co-localisation (Jaderberg et al., NIPS 2015, arXiv 1506.02025, appendix A.2)."""

from typing import Any

import keras
from keras import ops

from keras_segattn.layers import SpatialTransformer


class CoLocalisationTrainer(keras.Model):
    """A localiser and its triplet loss: crops of two pictures are to be more alike than a crop and a random patch.

    For pictures n and m of a batch, all of which hold the same kind of thing, the loss is the mean over n ≠ m of

        max(0, ‖e(crop n) − e(crop m)‖² − ‖e(crop n) − e(random patch of n)‖² + margin)

    with encodings e as the encoder gives them, flattened: end it with `keras.layers.UnitNormalization` for ones of
    length 1. Crops that show nothing are alike too, a minimum that is not as low as the wanted one but near a small
    first crop. Begin with one that holds most of the picture, with an encoder that knows things of different sizes and
    places, and with encodings of length 1, which find the thing from afar; encodings that are the longer the surer the
    encoder is, with a margin of such squared lengths, then make the crop as close and as centred as it knows things
    best.

    Args:
        localiser: from images to a dict of `"transformed"` and `"theta"`, such as `attention.co_localiser` makes; its
            weights are trained.
        encoder: from crops to features `(batch, …)`; its weights are not trained.
        margin: α, of squared distances.
        patch: side of a random patch ÷ that of a picture.
        seed: of the patches.

    Call arguments:
        inputs: images `(batch, height, width, channels)`, two or more.

    Output:
        dict `transformed` and `theta`.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> trainer = CoLocalisationTrainer(co_localiser(), encoder)
        >>> trainer.compile(keras.optimizers.Adam(5e-3), jit_compile=False)
        >>> trainer.fit(scenes, batch_size=32)
    """

    def __init__(
        self, localiser: keras.Model, encoder: keras.Model, margin: float = 1.0, patch: float = 1 / 3, seed: int = 0
    ) -> None:
        super().__init__(name=f"{localiser.name}_trainer")
        outputs = getattr(localiser, "output", None)
        if not isinstance(outputs, dict) or not {"transformed", "theta"} <= set(outputs):
            raise ValueError(f"expected a localiser with outputs 'transformed' and 'theta', received {outputs}")
        if margin <= 0:
            raise ValueError(f"margin must be positive, received {margin!r}")
        if not 0 < patch < 1:
            raise ValueError(f"patch must be within 0..1, received {patch!r}")
        encoder.trainable = False
        self.localiser, self.encoder = localiser, encoder
        self.margin, self.patch = margin, patch
        self.seeds = keras.random.SeedGenerator(seed)
        rows, columns = outputs["transformed"].shape[1:3]
        self.cutter = SpatialTransformer("translation", output_size=(rows, columns), scale=patch)
        self.cutter.build(localiser.input_shape, (None, 2))

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """The crops."""
        return self.localiser(inputs, training=training)

    def patches(self, images: Any) -> Any:
        """One of each picture, anywhere within."""
        most = 1.0 - self.patch
        return self.cutter(images, keras.random.uniform((ops.shape(images)[0], 2), -most, most, seed=self.seeds))

    def encode(self, pictures: Any) -> Any:
        """Features, float32 `(batch, features)`."""
        features = ops.reshape(self.encoder(pictures, training=False), (ops.shape(pictures)[0], -1))
        return ops.cast(features, "float32")

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,  # noqa: ARG002
        y_pred: Any = None,
        sample_weight: Any = None,  # noqa: ARG002
        training: bool = True,  # noqa: ARG002
    ) -> Any:
        """The triplet loss of a batch."""
        crops, patches = self.encode(y_pred["transformed"]), self.encode(self.patches(x))
        squares = ops.sum(ops.square(crops), axis=-1)
        between = squares[:, None] + squares - 2.0 * ops.matmul(crops, ops.transpose(crops))
        to_patch = ops.sum(ops.square(crops - patches), axis=-1)
        hinge = ops.relu(between - to_patch[:, None] + self.margin)
        count = ops.shape(crops)[0]
        pairs = ops.cast(count * (count - 1), "float32")
        return ops.sum(hinge * (1.0 - ops.eye(count))) / ops.maximum(pairs, 1.0)
