"""Adversarial networks as their authors' Theano programs define them, in PyTorch.

Parameters of DCGAN are lists of arrays as the authors published them. No parameters of GRAN were published, so they
have our names and layout.
"""

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
    """Write a list of arrays as joblib does; return the prefix of the files."""
    for number, array in enumerate(arrays, start=1):
        np.save(f"{prefix}_{number:02}.npy", array)
    return prefix


def tensors(arrays):
    """Turn arrays into tensors for which gradients are computed."""
    import torch

    return [torch.tensor(array, requires_grad=True) for array in arrays]


def batchnorm(x, gain=None, shift=None, epsilon=1e-8):
    """Normalise by the batch: maps per channel, vectors per unit."""
    axes = (0, 2, 3) if x.ndim == 4 else (0,)
    shape = (1, -1, 1, 1) if x.ndim == 4 else (1, -1)
    mean = x.mean(axes, keepdim=True)
    x = (x - mean) / ((x - mean) ** 2).mean(axes, keepdim=True).add(epsilon).sqrt()
    return x if gain is None else x * gain.reshape(shape) + shift.reshape(shape)


def conv(x, w, bias=None):
    """Apply Theano's dnn_conv: a true convolution, stride 2, 2 zeros on every side."""
    from torch.nn import functional as f

    return f.conv2d(x, w.flip(2, 3), bias, stride=2, padding=2)


def deconv(x, w, bias=None):
    """Apply the gradient of `conv` with respect to its input, which doubles the size."""
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
    """Compute `harness.loss_and_gradients` by the arrays: the mean product with fixed noise, one row per sample."""
    import torch

    leaves = tensors(arrays)
    output = module(leaves, channels_first(x))
    output = (output.permute(0, 2, 3, 1) if output.ndim == 4 else output).reshape(len(x), -1)
    target = np.random.default_rng(1).normal(size=output.shape).astype("float32")
    loss = (output * torch.from_numpy(target)).mean()
    loss.backward()
    return loss.item(), [leaf.grad.numpy() for leaf in leaves]


def gran_normalization(x, w, name, epsilon=1e-6):
    """Normalise by the batch, with epsilon added to the deviation."""
    axes = (0, 2, 3) if x.ndim == 4 else (0,)
    shape = (1, -1, 1, 1) if x.ndim == 4 else (1, -1)
    x = (x - x.mean(axes, keepdim=True)) / (x.std(axes, correction=0, keepdim=True) + epsilon)
    return x * w[f"{name}.gamma"].reshape(shape) + w[f"{name}.beta"].reshape(shape)


def gran_dense(x, w, name, *, normalized=True):
    x = x @ w[f"{name}.kernel"] + w[f"{name}.bias"]
    return gran_normalization(x, w, f"{name}_bn") if normalized else x


def gran_conv(x, w, name):
    """Apply a convolution with a kernel in Keras's layout."""
    from torch.nn import functional as f

    x = f.conv2d(x, w[f"{name}.kernel"].permute(3, 2, 0, 1), w.get(f"{name}.bias"), stride=2, padding=2)
    return gran_normalization(x, w, f"{name}_bn") if f"{name}_bn.gamma" in w else x


def gran_deconv(x, w, name):
    from torch.nn import functional as f

    kernel = w[f"{name}.kernel"].permute(3, 2, 0, 1)
    return f.conv_transpose2d(x, kernel, w[f"{name}.bias"], stride=2, padding=2, output_padding=1)


def gran_generator(w, z, *, steps, first, noise):
    """Generate like `forward`, `backward` and the sum of recGenI*.py; `w` is our name → value in our layout."""
    import torch

    doublings = sum(name.startswith("up") for name in w) // 2 + 1
    h_c, strokes = torch.zeros(len(z), w["h_c.kernel"].shape[-1]), []
    for step in range(steps):
        h_z = gran_dense(z if noise == "shared" else z[:, step], w, "h_z").tanh()
        kernel = torch.cat([w["project_z.kernel"], w["project_c.kernel"]])
        x = torch.cat([h_z, h_c], 1) @ kernel + w["project_z.bias"]
        x = gran_normalization(x, w, "project_bn").relu()
        x = x.reshape(len(z), first, first, -1).permute(0, 3, 1, 2)
        for stage in range(1, doublings):
            x = gran_deconv(x, w, f"up{stage}").relu()
        strokes.append(gran_deconv(x, w, "delta"))
        x = strokes[-1]
        for stage in range(1, doublings + 1):
            x = gran_conv(x, w, f"down{stage}").relu()
        h_c = gran_dense(x.permute(0, 2, 3, 1).flatten(1), w, "h_c").tanh()
    return sum(strokes).sigmoid()


def gran_discriminator(w, image):
    """Score like `propagate` of convnet_cuda*.py before its sigmoid."""
    doublings = sum(name.startswith("conv") and name.endswith(".kernel") for name in w)
    x = image
    for stage in range(1, doublings + 1):
        x = gran_conv(x, w, f"conv{stage}").relu()
    return gran_dense(x.permute(0, 2, 3, 1).flatten(1), w, "fc", normalized=False).tanh() @ w["score.kernel"]


def with_label(x, y):
    """Append the class like `conv_cond_concat` to maps, or like `concatenate` to vectors."""
    import torch

    y = y if x.ndim == 2 else y[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, y], 1)


def conditional_dcgan_generator(arrays, z, y):
    """Generate like `gen` of mnist/train_cond_dcgan.py."""
    w, w2, w3, wx = arrays
    h = batchnorm(with_label(z, y) @ w).relu()
    h = batchnorm(with_label(h, y) @ w2).relu().reshape(len(z), -1, 7, 7)
    h = batchnorm(deconv(with_label(h, y), w3)).relu()
    return deconv(with_label(h, y), wx).sigmoid()


def conditional_dcgan_discriminator(arrays, image, y):
    """Score like `discrim` of mnist/train_cond_dcgan.py before its sigmoid."""
    from torch.nn import functional as f

    w, w2, w3, wy = arrays
    h = f.leaky_relu(conv(with_label(image, y), w), 0.2)
    h = f.leaky_relu(batchnorm(conv(with_label(h, y), w2)), 0.2)
    h = f.leaky_relu(batchnorm(with_label(h.flatten(1), y) @ w3), 0.2)
    return with_label(h, y) @ wy
