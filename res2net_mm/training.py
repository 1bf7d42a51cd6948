"""The same training step, faster and in less memory.

A block of convolutions, batch norms and ReLUs keeps, for its backward pass, what goes into every norm and what comes out
of every ReLU, besides copies made by splits and concatenations. :class:`FusedBlock` keeps the outputs of convolutions
alone and computes the rest again, which takes one pass over memory. Both passes write where the next operation reads:
splits, additions between them and the concatenation need no pass of their own.
"""
import torch
from torch.nn.functional import avg_pool2d, conv2d
from torch.nn.modules.batchnorm import BatchNorm2d

from .models.base import Backbone
from .models.bottle2neck import Bottle2neck
from .norm_kernels import Norm, moments, normalise, normalise_backward


def accelerate_training(model):
    """Make the training of a model faster, on a CPU, and smaller in memory.

    Every Res2Net (or ResNet) block in it that is made of convolutions and batch norms computes its forward and backward
    pass in one piece. Outputs, gradients, running statistics, parameters and their names stay what they were, up to
    rounding. Blocks with other layers (deformable convolutions, plugins, squeeze-and-excitation, other norms), and
    steps in other types than float32 and float64, run as before.

    Args:
        model (nn.Module): One of our backbones, or a model with some in it.

    Returns:
        nn.Module: The model itself.

    Raises:
        ValueError: If no block of the model can be accelerated.
    """
    blocks = [module for module in model.modules() if type(module) is Bottle2neck and is_plain(module)]
    if not blocks:
        raise ValueError(f'accelerate_training: {type(model).__name__} has no block of convolutions and batch norms')
    for block in blocks:
        block.__class__ = TrainingBlock  # it has the same layers; only _forward differs
    for backbone in model.modules():
        if isinstance(backbone, Backbone):
            backbone.register_forward_hook(contiguous_outputs)
    return model


def is_plain(block):
    """Whether a block is made of what FusedBlock knows."""
    convs, norms = layers(block)
    return (all(type(conv) is torch.nn.Conv2d and conv.bias is None and conv.padding_mode == 'zeros' for conv in convs)
            and all(type(norm) is BatchNorm2d and norm.affine for norm in norms)
            and isinstance(block.se, torch.nn.Identity) and not any(block.plugins.values()))


def layers(block):
    """The convolutions of a block and their norms."""
    return [block.conv1, *block.convs, block.conv3], [block.bn1, *block.bns, block.bn3]


def contiguous_outputs(backbone, images, outputs):
    """Blocks keep the channels of a pixel together; mmcv's RoIAlign, on a CPU, takes any feature for contiguous."""
    return outputs.contiguous() if isinstance(outputs, torch.Tensor) else tuple(out.contiguous() for out in outputs)


class TrainingBlock(Bottle2neck):
    """A Bottle2neck that trains through FusedBlock. Not built, but made of a Bottle2neck by accelerate_training."""

    def _forward(self, x, identity):
        if not self._can_fuse(x):
            return super()._forward(x, identity)
        x = ChannelsLast.apply(x)
        if identity is None and self.downsample is not None:
            identity = self.downsample(x)
        convs, norms = layers(self)
        weights = [parameter for conv, norm in zip(convs, norms) for parameter in (conv.weight, norm.weight, norm.bias)]
        return FusedBlock.apply(self, x, identity, *weights)

    def _can_fuse(self, x):
        return (torch.is_grad_enabled() and not torch.is_autocast_enabled(x.device.type)
                and x.dtype in (torch.float32, torch.float64) and x.dtype == self.conv1.weight.dtype
                and x[0, 0].numel() * len(x) > self.conv1.stride[0]**2 * self.convs[0].stride[0]**2)


class ChannelsLast(torch.autograd.Function):
    """Channels last for what follows; the gradient comes back in the layout of the input, which the layers before like."""

    @staticmethod
    def forward(ctx, x):
        ctx.was_contiguous = x.is_contiguous()
        return x.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx, grad):
        return grad.contiguous() if ctx.was_contiguous else grad


class FusedBlock(torch.autograd.Function):
    """Forward and backward pass of a block, on matrices (pixels, channels)."""

    @staticmethod
    def forward(ctx, block, x, identity, *weights):
        """Run the block.

        Args:
            ctx: Autograd's context.
            block (Bottle2neck): The block.
            x (Tensor): (n, in_channels, h, w), channels last.
            identity (Tensor | None): What the result is added to, of its shape; None for x.
            *weights (Tensor): Of every convolution, in order: its weight and its norm's weight and bias.

        Returns:
            Tensor: (n, out_channels, h', w'), channels last.
        """
        (w1, *w2, w3), convs, bns = weights[::3], *layers(block)
        affine = list(zip(weights[1::3], weights[2::3]))
        z1 = convolve(x, w1, convs[0])
        norm1 = norm_of(bns[0], rows(z1), *affine[0])
        z2, norms2 = [], []
        y = None
        for i, w in enumerate(w2):
            z = convolve(split_input(block, z1, norm1, y, i), w, convs[1 + i])
            if y is None:
                y = empty_images(z, w3.shape[1])
            norms2.append(norm_of(bns[1 + i], rows(z), *affine[1 + i]))
            normalise(rows(z), norms2[i], split(block, y, i), relu_last=True)
            z2.append(z)
        last_split(block, z1, norm1, y)
        z3 = convolve(y, w3, convs[-1])
        norm3 = norm_of(bns[-1], rows(z3), *affine[-1])
        out = torch.empty_like(z3)
        added = x if identity is None else identity.contiguous(memory_format=torch.channels_last)
        normalise(rows(z3), norm3, rows(out), rows(added), relu_last=block.last_relu)
        ctx.block, ctx.norms, ctx.adds_input = block, [norm1, *norms2, norm3], identity is None
        ctx.save_for_backward(x, out if block.last_relu else None, z1, *z2, z3, w1, *w2, w3)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        """The gradients of forward's arguments."""
        block, (norm1, *norms2, norm3) = ctx.block, ctx.norms
        x, out, *saved = ctx.saved_tensors
        (z1, *z2, z3), (w1, *w2, w3) = saved[:len(saved) // 2], saved[len(saved) // 2:]
        conv1, *convs2, conv3 = layers(block)[0]

        grad = rows(grad.contiguous(memory_format=torch.channels_last))
        grad_z3, affine3, grad = normalise_backward(grad, rows(z3), norm3, positive=None if out is None else rows(out))
        y = empty_images(z3, w3.shape[1])
        for i, (z, norm) in enumerate(zip(z2, norms2)):
            normalise(rows(z), norm, split(block, y, i), relu_last=True)
        last_split(block, z1, norm1, y)
        grad_w3 = (grad_z3.T @ rows(y)).view_as(w3)
        grad_y = images(grad_z3 @ w3.flatten(1), y)
        del grad_z3

        grad_z1 = torch.empty_like(z1)
        grad_w2, affine2, affine1 = [None] * len(w2), [None] * len(w2), [None] * block.scales
        of_next = None  # the gradient of the next convolution's input, to which y_i was added
        for i in reversed(range(len(w2))):
            grad_z, affine2[i], _ = normalise_backward(split(block, grad_y, i), rows(z2[i]), norms2[i], relu=True,
                                                       grad2=of_next)
            u = split_input(block, z1, norm1, y, i)
            grad_u, grad_w2[i] = convolve_backward(images(grad_z, z2[i]), u, w2[i], convs2[i])
            affine1[i] = split_backward(block, rows(grad_u), z1, norm1, grad_z1, i)
            of_next = None if block.stage_block else rows(grad_u)
        if block.scales > 1:
            grad_u = split(block, grad_y, block.scales - 1)
            if is_pooled(block):
                u = z1[:, -block.width:]
                grad_u = rows(torch.ops.aten.avg_pool2d_backward(images(grad_u.contiguous(), y), u.contiguous(memory_format=torch.channels_last), *pooling(block)))
            affine1[-1] = split_backward(block, grad_u, z1, norm1, grad_z1, block.scales - 1)

        grad_x = grad_w1 = None
        if is_matrix_product(conv1):
            grad_w1 = (rows(grad_z1).T @ rows(x)).view_as(w1)
            if ctx.adds_input:
                grad_x = images(grad.addmm_(rows(grad_z1), w1.flatten(1)), x)
            else:
                grad_x = images(rows(grad_z1) @ w1.flatten(1), x)
        else:
            grad_x, grad_w1 = convolve_backward(grad_z1, x, w1, conv1)
            if ctx.adds_input:
                grad_x += images(grad, x)
        grad_weights = [grad_w1, *grad_w2, grad_w3]
        affine = [torch.cat(affine1, 1), *affine2, affine3]
        flat = [value for w, (bias, weight) in zip(grad_weights, affine) for value in (w, weight, bias)]
        return None, grad_x, None if ctx.adds_input else images(grad, z3), *flat


def rows(x):
    """(n, c, h, w), channels last -> (n·h·w, c), the same memory."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def images(matrix, like):
    """(n·h·w, c) -> (n, c, h, w), channels last, the same memory."""
    n, _, h, w = like.shape
    return matrix.view(n, h, w, -1).permute(0, 3, 1, 2)


def empty_images(like, channels):
    n, _, h, w = like.shape
    return images(like.new_empty(n * h * w, channels), like)


def convolve(x, weight, conv):
    return conv2d(x, weight, None, conv.stride, conv.padding, conv.dilation, conv.groups).contiguous(
        memory_format=torch.channels_last)


def convolve_backward(grad, x, weight, conv):
    return torch.ops.aten.convolution_backward(grad, x, weight, None, conv.stride, conv.padding, conv.dilation, False, (0, 0),
                                               conv.groups, (True, True, False))[:2]


def is_matrix_product(conv):
    return conv.kernel_size == (1, 1) and conv.stride == (1, 1) and conv.groups == 1


def norm_of(bn, z, weight, bias):
    """Do what a batch norm does before it normalises: find the statistics of the batch, follow them."""
    statistics = bn.training or bn.running_mean is None
    mean, variance = moments(z) if statistics else (bn.running_mean, bn.running_var)
    if bn.training and bn.running_mean is not None:
        momentum = bn.momentum
        if bn.num_batches_tracked is not None:
            bn.num_batches_tracked += 1
            momentum = 1 / bn.num_batches_tracked.item() if momentum is None else momentum
        bn.running_mean.lerp_(mean, momentum)
        bn.running_var.lerp_(variance * (len(z) / (len(z) - 1)), momentum)
    invstd = (variance + bn.eps).rsqrt()
    scale = weight * invstd
    return Norm(scale, bias - mean * scale, mean, invstd, statistics)


def split(block, x, i):
    """Split i of a block's tensor, (pixels, width)."""
    return rows(x)[:, block.width * i:block.width * (i + 1)]


def channels_of(block, i):
    return slice(block.width * i, block.width * (i + 1))


def split_input(block, z1, norm1, y, i):
    """What convolution i takes: u_i, or u_i + y_{i-1}."""
    addend = None if i == 0 or block.stage_block else split(block, y, i - 1)
    return images(normalise(split(block, z1, i), norm1.of(channels_of(block, i)), None, addend, relu_first=True), z1)


def split_backward(block, grad, z1, norm1, grad_z1, i):
    return normalise_backward(grad, split(block, z1, i), norm1.of(channels_of(block, i)), split(block, grad_z1, i), relu=True)[1]


def is_pooled(block):
    return not isinstance(block.pool, torch.nn.Identity)


def pooling(block):
    pool = block.pool
    return (pool.kernel_size, ) * 2, (pool.stride, ) * 2, (pool.padding, ) * 2, pool.ceil_mode, pool.count_include_pad, None


def last_split(block, z1, norm1, y):
    """y_s, the split that no convolution takes."""
    if block.scales == 1:
        return
    i = block.scales - 1
    norm = norm1.of(channels_of(block, i))
    if is_pooled(block):
        u = images(normalise(split(block, z1, i), norm, relu_last=True), z1)
        split(block, y, i).copy_(rows(block.pool(u)))
    else:
        normalise(split(block, z1, i), norm, split(block, y, i), relu_last=True)
