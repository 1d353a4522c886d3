"""Draws pictures of generators: the published house numbers, interpolations of their noise, and checkerboards.

    python benchmarks/generation.py --dcgan FOLDER --output docs

FOLDER is models/svhn_unsup_all_conv_dcgan_100z_gaussian_lr_0.0005_64mb of github.com/Newmu/dcgan_code. The script draws
`dcgan_svhn.png` and `dcgan_latent.png` (four linear interpolations between two noise vectors; below them, the noise of
three images minus that of three others plus that of three others, averaged, gives the tenth image).
`checkerboard.png` needs no weights.
"""

import argparse
from pathlib import Path

import keras
import numpy as np

from keras_segattn import DCGANDiscriminator, DCGANGenerator, generation, visualize
from keras_segattn.generation.dcgan import SVHN
from keras_segattn.generation.dcgan_weights import released_list
from keras_segattn.metrics import stride_frequency_power

BATCH, SEEDS = 128, 10
# Indices in the batch of seed 0 for the arithmetic of noise: white on blue, dark digits (subtracted), and dark twos.
BLUE, DARK, TWOS = [0, 59, 16], [54, 60, 114], [1, 41, 11]
WALKS = [(0, 41), (16, 89), (1, 21), (114, 59)]


def make(generator, z):
    """Generate images from noise, in one batch with the noise of seed 0, which batch normalisation needs."""
    crowd = generation.noise("normal", BATCH, z.shape[1])
    return generation.generate(generator, np.concatenate([z, crowd]))[: len(z)]


def house_numbers(folder, output):
    generator = DCGANGenerator(str(released_list(folder, "gen")), **SVHN)
    discriminator = DCGANDiscriminator(
        weights=str(released_list(folder, "discrim")),
        input_shape=SVHN["image_shape"],
        filters=SVHN["filters"],
        classifier_activation="sigmoid",
    )
    z = generation.noise("normal", BATCH, 100)
    print(f"mean D(G(z)) of {BATCH} images: {np.mean(discriminator(generator(z))):.4f}")
    print(f"power at the stride's frequency: {stride_frequency_power(generator(z)):.2%}")
    images = generation.generate(generator, z)
    visualize.save(visualize.image_grid(images[:64], 16, scale=2), output / "dcgan_svhn.png")

    rows = [make(generator, generation.interpolate(z[a], z[b], 10)) for a, b in WALKS]
    new = generation.arithmetic(z[BLUE], z[DARK], z[TWOS])
    rows.append(np.concatenate([images[[*BLUE, *DARK, *TWOS]], make(generator, new[None])]))
    visualize.save(visualize.image_grid(np.concatenate(rows), 10, scale=3), output / "dcgan_latent.png")


def checkerboards(output):
    """Draw images of untrained generators with different up-sampling, which show the artefacts it causes."""
    pictures = []
    for upsampling in ("transposed", "resize"):
        powers = []
        for seed in range(SEEDS):
            keras.utils.set_random_seed(seed)
            generator = DCGANGenerator(**SVHN, upsampling=upsampling)
            images = np.asarray(generator(generation.noise("normal", BATCH, 100, seed)))
            powers.append(stride_frequency_power(images))
        print(f"{upsampling}: power at the stride's frequency {np.mean(powers):.2%}, {SEEDS} untrained generators")
        bright = images[:16] / np.abs(images[:16]).max(axis=(1, 2, 3), keepdims=True)
        grid = visualize.image_grid(generation.pixels(bright), 4, gap=0)
        pictures.append((f"{upsampling}: {np.mean(powers):.2%}", np.asarray(grid)))
    visualize.save(visualize.panels(pictures, columns=2), output / "checkerboard.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dcgan", type=Path, help="folder of the published arrays")
    parser.add_argument("--output", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    if arguments.dcgan:
        house_numbers(arguments.dcgan, arguments.output)
    checkerboards(arguments.output)


if __name__ == "__main__":
    main()
