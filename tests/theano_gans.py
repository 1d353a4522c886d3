"""Adversarial networks as their authors' Theano programs define them, in PyTorch: parameters are lists of arrays."""

import numpy as np

SEED = 20160219


def released_like(shapes, seed=SEED):
    """Random arrays of the released shapes; gains near 1, kernels that keep activations near 1."""
    random = np.random.default_rng(seed)
    arrays = []
    for name, shape in shapes.items():
        if len(shape) == 1:
            values = random.normal(1 if name.startswith("gain") else 0, 0.2, shape)
        else:
            values = random.normal(0, np.sqrt(2 / np.prod(shape[1:] if len(shape) == 4 else shape[:1])), shape)
        arrays.append(values.astype("float32"))
    return arrays


def write_list(arrays, prefix):
    """As joblib leaves them; returns the prefix."""
    for number, array in enumerate(arrays, start=1):
        np.save(f"{prefix}_{number:02}.npy", array)
    return prefix


def tensors(arrays):
    """Leaves that gradients flow to."""
    import torch

    return [torch.tensor(array, requires_grad=True) for array in arrays]


def batchnorm(x, gain=None, shift=None, epsilon=1e-8):
    """By the batch; maps by channel, vectors by unit."""
    axes = (0, 2, 3) if x.ndim == 4 else (0,)
    shape = (1, -1, 1, 1) if x.ndim == 4 else (1, -1)
    mean = x.mean(axes, keepdim=True)
    x = (x - mean) / ((x - mean) ** 2).mean(axes, keepdim=True).add(epsilon).sqrt()
    return x if gain is None else x * gain.reshape(shape) + shift.reshape(shape)


def conv(x, w, bias=None):
    """Theano's dnn_conv: a true convolution, stride 2, 2 zeros on every side."""
    from torch.nn import functional as f

    return f.conv2d(x, w.flip(2, 3), bias, stride=2, padding=2)


def deconv(x, w, bias=None):
    """The gradient of that convolution by its input, which has twice the size."""
    from torch.nn import functional as f

    return f.conv_transpose2d(x, w.flip(2, 3), bias, stride=2, padding=2, output_padding=1)


def dcgan_generator_shapes(latent, image, filters, doublings):
    channels = filters << (doublings - 1)
    shapes = {"w": (latent, 16 * channels), "gain": (16 * channels,), "shift": (16 * channels,)}
    for stage in range(1, doublings):
        out = channels >> stage
        shapes |= {f"w{stage}": (2 * out, out, 5, 5), f"gain{stage}": (out,), f"shift{stage}": (out,)}
    return shapes | {"wx": (filters, image, 5, 5)}


def dcgan_discriminator_shapes(image, filters, doublings):
    shapes = {"w": (filters, image, 5, 5)}
    for stage in range(1, doublings):
        out = filters << stage
        shapes |= {f"w{stage}": (out, out // 2, 5, 5), f"gain{stage}": (out,), f"shift{stage}": (out,)}
    return shapes | {"wy": (16 * filters << (doublings - 1), 1)}


def dcgan_generator(arrays, z):
    """`gen` of the released training programs, `(batch, channels, rows, columns)`."""
    w, gain, shift, *maps, wx = arrays
    h = batchnorm(z @ w, gain, shift).relu()
    h = h.reshape(len(z), -1, 4, 4)
    for k in range(0, len(maps), 3):
        h = batchnorm(deconv(h, maps[k]), *maps[k + 1 : k + 3]).relu()
    return deconv(h, wx).tanh()


def dcgan_discriminator(arrays, image):
    """`discrim` before its sigmoid, `(batch, 1)`."""
    from torch.nn import functional as f

    w, *maps, wy = arrays
    h = f.leaky_relu(conv(image, w), 0.2)
    for k in range(0, len(maps), 3):
        h = f.leaky_relu(batchnorm(conv(h, maps[k]), *maps[k + 1 : k + 3]), 0.2)
    return h.flatten(1) @ wy


def channels_last(x):
    """A PyTorch tensor as an array in Keras's layout."""
    x = x.permute(0, 2, 3, 1) if x.ndim == 4 else x
    return x.detach().numpy()


def channels_first(x):
    import torch

    return torch.tensor(x.transpose(0, 3, 1, 2) if x.ndim == 4 else x, requires_grad=True)


def loss_and_gradients(module, arrays, x):
    """As `harness.loss_and_gradients`, by the arrays: the mean product with fixed noise, of one row a sample."""
    import torch

    leaves = tensors(arrays)
    output = module(leaves, channels_first(x))
    output = (output.permute(0, 2, 3, 1) if output.ndim == 4 else output).reshape(len(x), -1)
    target = np.random.default_rng(1).normal(size=output.shape).astype("float32")
    loss = (output * torch.from_numpy(target)).mean()
    loss.backward()
    return loss.item(), [leaf.grad.numpy() for leaf in leaves]
