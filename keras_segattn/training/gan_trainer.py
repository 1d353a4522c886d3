"""Trainer of a generator and its discriminator in turn (Goodfellow et al. 2014, algorithm 1 with k = 1).

Each of the two losses changes the variables of one network only, so they cannot be one `compute_loss`. The trainer
overrides `train_step` instead, and therefore runs on the TensorFlow backend only.
"""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_segattn.training.gan_recipes import GANRecipe
from keras_segattn.training.trainer import Trainer


def discriminator_loss(real: Any, generated: Any) -> Any:
    """Compute the binary cross-entropy of a discriminator: mean of -log D(x), plus mean of -log(1 - D(G(z))).

    Args:
        real: logits of real images, any shape.
        generated: logits of generated images, any shape.

    Returns:
        Scalar.

    Example:
        >>> round(float(discriminator_loss(keras.ops.zeros(8), keras.ops.zeros(8))), 4)  # undecided: 2 log 2
        1.3863
    """
    return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(generated))


def generator_loss(generated: Any) -> Any:
    """Compute the loss of a generator: mean of -log D(G(z)), whose gradient does not vanish where D is sure.

    Args:
        generated: logits of generated images, any shape.

    Returns:
        Scalar.

    Example:
        >>> round(float(generator_loss(keras.ops.zeros(8))), 4)
        0.6931
    """
    return ops.mean(ops.softplus(-generated))


class Optimizers:
    """Optimisers of both networks, as one object that a checkpoint can save.

    Args:
        generator: optimiser of the generator.
        discriminator: optimiser of the discriminator.
    """

    def __init__(self, generator: keras.optimizers.Optimizer, discriminator: keras.optimizers.Optimizer) -> None:
        self.generator, self.discriminator = generator, discriminator

    @property
    def variables(self) -> list[keras.Variable]:
        """Return the state variables of both optimisers."""
        return [*self.generator.variables, *self.discriminator.variables]


def input_shapes(model: keras.Model) -> Any:
    """Return the input shape of a functional model, or shapes by input name, which `input_shape` does not give."""
    if isinstance(model.input, dict):
        return {name: tuple(tensor.shape) for name, tensor in model.input.items()}
    return model.input_shape


def noise_shape(generator: keras.Model) -> tuple[int, ...]:
    """Return the shape of the noise of one image; in a conditional generator, it is the input `z`."""
    shapes = input_shapes(generator)
    return (shapes["z"] if isinstance(shapes, dict) else shapes)[1:]


def class_count(generator: keras.Model) -> int | None:
    """Return the number of classes of a conditional generator; `None` for other generators."""
    shapes = input_shapes(generator)
    return shapes["label"][-1] if isinstance(shapes, dict) else None


class GANTrainer(Trainer):
    """Model that trains both networks of a GAN; call `fit` with batches of images, or of images and labels.

    Conditional networks need labels. A step updates the discriminator by a batch, then the generator by new noise. (The
    released code of DCGAN alternates: each network gets every other batch.) Real and generated images pass through the
    discriminator in separate batches, each with its own statistics for batch normalisation. In a conditional GAN, the
    generated images have the classes of the real ones.

    Args:
        generator: functional model from noise to images, or from `z` and one-hot `label`.
        discriminator: functional model from such images to logits `(batch, 1)`, high for real ones, or from `image` and
            `label`.
        recipe: recipe with the distribution of the noise and the penalty.
        optimizers: optimisers of both networks, which are built here.
        seed: seed of the noise.

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
        self.stored = [optimizers.generator, optimizers.discriminator]  # files of weights include them
        optimizers.generator.build(generator.trainable_variables)
        optimizers.discriminator.build(discriminator.trainable_variables)
        dense = [layer.kernel for layer in discriminator.layers if isinstance(layer, keras.layers.Dense)]
        everything = [*generator.trainable_variables, *discriminator.trainable_variables]
        self.penalized = {id(variable) for variable in (everything if recipe.penalized == "all" else dense)}
        self.seeds = keras.random.SeedGenerator(seed)
        names = ("discriminator_loss", "generator_loss", "real_score", "generated_score")
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.compile(None, jit_compile=False)
        self.built = True

    def train_step(self, data: Any) -> dict[str, Any]:
        """Update the discriminator, then the generator; the scores are probabilities before these updates."""
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self.check_weights(sample_weight)
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
        """Update the discriminator only; return its loss, its logits of the images, and those of generated images."""
        generated = self.made(ops.shape(images)[0], label)
        with tf.GradientTape() as tape:
            real, other = self.scores(images, label), self.scores(generated, label)
            loss = discriminator_loss(real, other)
            scaled = self.optimizers.discriminator.scale_loss(loss)
        self.update(self.discriminator, self.optimizers.discriminator, tape, scaled)
        return loss, real, other

    def generator_step(self, count: Any, label: Any = None) -> Any:
        """Update the generator only, by `count` of its images; return its loss."""
        with tf.GradientTape() as tape:
            loss = generator_loss(self.scores(self.made(count, label), label))
            scaled = self.optimizers.generator.scale_loss(loss)
        self.update(self.generator, self.optimizers.generator, tape, scaled)
        return loss

    def made(self, count: Any, label: Any) -> Any:
        """Generate `count` images, of the classes in `label` if there are any."""
        z = self.noise(count)
        return self.generator(z if label is None else {"z": z, "label": label}, training=True)

    def scores(self, images: Any, label: Any) -> Any:
        """Compute the discriminator's logits of a batch of either real or generated images."""
        return self.discriminator(images if label is None else {"image": images, "label": label}, training=True)

    def update(self, network: keras.Model, optimizer: keras.optimizers.Optimizer, tape: Any, loss: Any) -> None:
        """Update a network by the gradients of the loss and of the penalty."""
        variables = network.trainable_variables
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        penalties = [self.recipe.l2 if id(variable) in self.penalized else 0.0 for variable in variables]
        parts = zip(gradients, penalties, variables, strict=True)
        # With float16, the gradients are those of the scaled loss, so the gradient of the penalty is scaled, too.
        optimizer.apply([gradient + optimizer.scale_loss(l2 * variable) for gradient, l2, variable in parts], variables)

    def noise(self, count: Any) -> Any:
        """Draw noise for `count` images."""
        shape = (count, *noise_shape(self.generator))
        if self.recipe.noise == "normal":
            return keras.random.normal(shape, seed=self.seeds)
        return keras.random.uniform(shape, -1.0, 1.0, seed=self.seeds)
