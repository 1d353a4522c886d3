"""A generator and its discriminator, which `fit` updates in turn (Goodfellow et al. 2014, algorithm 1 with k = 1).

Two losses, each of which changes the variables of one network only, cannot be one `compute_loss`: this is a
`train_step` of the TensorFlow backend, the only one it runs on.
"""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_segattn.training.gan_recipes import GANRecipe


def discriminator_loss(real: Any, generated: Any) -> Any:
    """Binary cross-entropy of a discriminator: mean of -log D(x), plus mean of -log(1 - D(G(z))).

    Args:
        real: logits of real images, any shape.
        generated: those of generated ones.

    Returns:
        Scalar.

    Example:
        >>> round(float(discriminator_loss(keras.ops.zeros(8), keras.ops.zeros(8))), 4)  # knows nothing: 2 log 2
        1.3863
    """
    return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(generated))


def generator_loss(generated: Any) -> Any:
    """What a generator gets down: mean of -log D(G(z)), whose gradient does not vanish where D is sure.

    Args:
        generated: logits of its images, any shape.

    Returns:
        Scalar.

    Example:
        >>> round(float(generator_loss(keras.ops.zeros(8))), 4)
        0.6931
    """
    return ops.mean(ops.softplus(-generated))


class Optimizers:
    """The optimisers of both networks, as a checkpoint takes them.

    Args:
        generator: built optimiser.
        discriminator: built optimiser.
    """

    def __init__(self, generator: keras.optimizers.Optimizer, discriminator: keras.optimizers.Optimizer) -> None:
        self.generator, self.discriminator = generator, discriminator

    @property
    def variables(self) -> list[keras.Variable]:
        """State of both."""
        return [*self.generator.variables, *self.discriminator.variables]


def input_shapes(model: keras.Model) -> Any:
    """Shape of the input of a functional model, or of each by its name, which `input_shape` does not tell."""
    if isinstance(model.input, dict):
        return {name: tuple(tensor.shape) for name, tensor in model.input.items()}
    return model.input_shape


def noise_shape(generator: keras.Model) -> tuple[int, ...]:
    """Shape of the noise of one image; a conditional generator has it as its input `z`, beside `label`."""
    shapes = input_shapes(generator)
    return (shapes["z"] if isinstance(shapes, dict) else shapes)[1:]


def class_count(generator: keras.Model) -> int | None:
    """Number of classes of a conditional generator; `None` of others."""
    shapes = input_shapes(generator)
    return shapes["label"][-1] if isinstance(shapes, dict) else None


class GANTrainer(keras.Model):
    """Both networks of a GAN, for `fit` on batches of images, or of images and labels if they are conditional.

    A step updates the discriminator by a batch, then the generator, with noise of its own (the release of DCGAN gives
    every other batch to each). Real and generated images pass the discriminator in batches of their own, which is what
    its batch normalisation then normalises by. Conditional ones are of the same classes.

    Args:
        generator: functional model from noise to images, or from `z` and one-hot `label`.
        discriminator: functional model from such images to logits `(batch, 1)`, high for real ones, or from `image` and
            `label`.
        recipe: distribution of the noise, and penalty.
        optimizers: built, of the trainable variables of each.
        seed: of the noise.

    Example:
        >>> trainer = GANTrainer(generator, discriminator, recipe, Optimizers(*recipe.make_optimizers(20, 468)))
        >>> trainer.fit(images, epochs=20)
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        recipe: GANRecipe,
        optimizers: Optimizers,
        seed: int = 0,
    ) -> None:
        super().__init__(name="gan_trainer")
        self.generator, self.discriminator = generator, discriminator
        self.recipe, self.optimizers = recipe, optimizers
        optimizers.generator.build(generator.trainable_variables)
        optimizers.discriminator.build(discriminator.trainable_variables)
        dense = [layer.kernel for layer in discriminator.layers if isinstance(layer, keras.layers.Dense)]
        everything = [*generator.trainable_variables, *discriminator.trainable_variables]
        self.penalized = {id(variable) for variable in (everything if recipe.penalized == "all" else dense)}
        self.seeds = keras.random.SeedGenerator(seed)
        names = ("discriminator_loss", "generator_loss", "real_score", "generated_score")
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.compile(jit_compile=False)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Update the discriminator, then the generator; the scores are probabilities before these updates."""
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        count = ops.shape(images)[0]
        classes = class_count(self.generator)
        label = None if classes is None else ops.one_hot(ops.cast(labels, "int32"), classes)
        loss, real, generated = self.discriminator_step(images, label)
        values = {
            "discriminator_loss": loss,
            "generator_loss": self.generator_step(count, label),
            "real_score": ops.mean(ops.sigmoid(real)),
            "generated_score": ops.mean(ops.sigmoid(generated)),
        }
        for name, value in values.items():
            self.trackers[name].update_state(value, sample_weight=count)
        return {name: tracker.result() for name, tracker in self.trackers.items()}

    def discriminator_step(self, images: Any, label: Any = None) -> tuple[Any, Any, Any]:
        """Update the discriminator only; its loss, its scores of the images, and of as many generated ones."""
        generated = self.made(ops.shape(images)[0], label)
        with tf.GradientTape() as tape:
            real, other = self.scores(images, label), self.scores(generated, label)
            loss = discriminator_loss(real, other)
            scaled = self.optimizers.discriminator.scale_loss(loss)
        self.update(self.discriminator, self.optimizers.discriminator, tape, scaled)
        return loss, real, other

    def generator_step(self, count: Any, label: Any = None) -> Any:
        """Update the generator only, by so many of its images; its loss."""
        with tf.GradientTape() as tape:
            loss = generator_loss(self.scores(self.made(count, label), label))
            scaled = self.optimizers.generator.scale_loss(loss)
        self.update(self.generator, self.optimizers.generator, tape, scaled)
        return loss

    def made(self, count: Any, label: Any) -> Any:
        """So many generated images, of classes if these are given."""
        z = self.noise(count)
        return self.generator(z if label is None else {"z": z, "label": label}, training=True)

    def scores(self, images: Any, label: Any) -> Any:
        """The discriminator's of a batch of one kind."""
        return self.discriminator(images if label is None else {"image": images, "label": label}, training=True)

    def update(self, network: keras.Model, optimizer: keras.optimizers.Optimizer, tape: Any, loss: Any) -> None:
        """Take a step down the loss and the penalty."""
        variables = network.trainable_variables
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        penalties = [self.recipe.l2 if id(variable) in self.penalized else 0.0 for variable in variables]
        parts = zip(gradients, penalties, variables, strict=True)
        # Both networks' gradients are those of the scaled loss where these are float16; so the penalty is scaled, too.
        optimizer.apply([gradient + optimizer.scale_loss(l2 * variable) for gradient, l2, variable in parts], variables)

    def noise(self, count: Any) -> Any:
        """Noise for so many images."""
        shape = (count, *noise_shape(self.generator))
        if self.recipe.noise == "normal":
            return keras.random.normal(shape, seed=self.seeds)
        return keras.random.uniform(shape, -1.0, 1.0, seed=self.seeds)
