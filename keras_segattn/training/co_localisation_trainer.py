"""Training of co-localisation (Jaderberg et al., NIPS 2015, arXiv 1506.02025, appendix A.2)."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import is_number
from keras_segattn.layers import SpatialTransformer
from keras_segattn.training.trainer import Trainer


@keras.saving.register_keras_serializable(package="keras_segattn")
class CoLocalisationTrainer(Trainer):
    """Model that trains a localiser by a triplet loss: two crops shall be more alike than a crop and a random patch.

    For pictures n and m of a batch, all of which show the same kind of object, the loss is the mean over n ≠ m of

        max(0, ‖e(crop n) − e(crop m)‖² − ‖e(crop n) − e(random patch of n)‖² + margin)

    where e are the encoder's features, flattened. For encodings of length 1, end the encoder with
    `keras.layers.UnitNormalization`.

    Crops of empty background are alike, too. This is a local minimum, higher than the wanted one but close to a small
    initial crop. Therefore start with a crop that covers most of the picture, with an encoder that recognises objects
    of different sizes at different places, and with encodings of length 1, which find the object from afar. Afterwards
    train with encodings that are longer the surer the encoder is, and a margin comparable to their squared lengths. The
    crop then becomes as tight and as centred as the crops that the encoder recognises best.

    Args:
        localiser: model from images to a dict of `"transformed"` and `"theta"`, such as `attention.co_localiser` makes;
            its weights are trained.
        encoder: model from crops to features `(batch, …)`; its weights are not trained.
        margin: margin α between squared distances.
        patch: side of a random patch divided by the side of the picture, in 0..1.
        seed: seed of the random patches.

    Call arguments:
        inputs: images `(batch, height, width, channels)`, at least two.

    Output:
        dict of `transformed` and `theta`, the outputs of the localiser.

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
        if not is_number(margin) or margin <= 0:
            raise ValueError(f"margin must be positive, received {margin!r}")
        if not 0 < patch < 1:
            raise ValueError(f"patch must be within 0..1, received {patch!r}")
        encoder.trainable = False
        self.localiser, self.encoder = localiser, encoder
        self.margin, self.patch, self.seed = margin, patch, seed
        self.seeds = keras.random.SeedGenerator(seed)
        rows, columns = outputs["transformed"].shape[1:3]
        self.cutter = SpatialTransformer("translation", output_size=(rows, columns), scale=patch)
        self.cutter.build(localiser.input_shape, (None, 2))
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """Run the localiser, whose outputs include the crops."""
        return self.localiser(inputs, training=training)

    def patches(self, images: Any) -> Any:
        """Cut a random patch out of each picture, anywhere within it."""
        most = 1.0 - self.patch
        return self.cutter(images, keras.random.uniform((ops.shape(images)[0], 2), -most, most, seed=self.seeds))

    def encode(self, pictures: Any) -> Any:
        """Encode pictures as features, float32 `(batch, features)`."""
        features = ops.reshape(self.encoder(pictures, training=False), (ops.shape(pictures)[0], -1))
        return ops.cast(features, "float32")

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,  # noqa: ARG002
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: ARG002
    ) -> Any:
        """Compute the triplet loss of a batch."""
        self.check_weights(sample_weight)
        crops, patches = self.encode(y_pred["transformed"]), self.encode(self.patches(x))
        squares = ops.sum(ops.square(crops), axis=-1)
        between = squares[:, None] + squares - 2.0 * ops.matmul(crops, ops.transpose(crops))
        to_patch = ops.sum(ops.square(crops - patches), axis=-1)
        hinge = ops.relu(between - to_patch[:, None] + self.margin)
        count = ops.shape(crops)[0]
        pairs = ops.cast(count * (count - 1), "float32")
        return ops.sum(hinge * (1.0 - ops.eye(count))) / ops.maximum(pairs, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the trainer."""
        localiser, encoder = map(keras.saving.serialize_keras_object, (self.localiser, self.encoder))
        settings = {"margin": self.margin, "patch": self.patch, "seed": self.seed}
        return {"localiser": localiser, "encoder": encoder} | settings

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "CoLocalisationTrainer":
        """Rebuild the trainer with its models."""
        models = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("localiser", "encoder")
        }
        return cls(**config | models)
