"""The splits of a block's tensors, and the one of them that no convolution takes."""
from __future__ import annotations

from torch import Tensor

from .layers import as_feature_map, as_matrix, empty_feature_map
from .norm_kernels import Norm, normalise, normalise_backward
from .plan import Plan


class Splits:
    """The splits of a block's tensors.

    Args:
        plan (Plan): What the block computes.
    """

    def __init__(self, plan: Plan) -> None:
        self.width, self.scales, self.adds, self.pool = plan.width, plan.scales, plan.adds, plan.pool

    def channels(self, i: int) -> slice:
        """The channels of split i."""
        return slice(i * self.width, (i + 1) * self.width)

    def part(self, x: Tensor, i: int) -> Tensor:
        """Split i of a feature map, (pixels, width), the same memory."""
        return as_matrix(x)[:, self.channels(i)]

    def convolution_input(self, z1: Tensor, norm1: Norm, y: Tensor | None, i: int) -> Tensor:
        """u_i + y_{i-1}, or u_i alone."""
        addend = self.part(y, i - 1) if self.adds and i else None
        u = normalise(self.part(z1, i), norm1.select(self.channels(i)), addend=addend, relu_first=True)
        return as_feature_map(u, z1)

    def backward(self, grad: Tensor, z1: Tensor, norm1: Norm, grad_z1: Tensor, i: int) -> Tensor:
        """Write split i of z1's gradient; return the gradients of its norm's bias and weight, (2, width)."""
        norm = norm1.select(self.channels(i))
        return normalise_backward(grad, self.part(z1, i), norm, self.part(grad_z1, i), relu=True)[1]

    def pass_last(self, z1: Tensor, norm1: Norm, y: Tensor) -> None:
        """Write y_s, the split that no convolution takes; there is none if there is but one."""
        i = self.scales - 1
        if self.pool:
            u = normalise(self.part(z1, i), norm1.select(self.channels(i)), relu_last=True)
            self.part(y, i).copy_(as_matrix(self.pool(as_feature_map(u, z1))))
        elif i:
            normalise(self.part(z1, i), norm1.select(self.channels(i)), self.part(y, i), relu_last=True)

    def last_backward(self, grad_y: Tensor, z1: Tensor) -> Tensor:
        """The gradient of u_s, (pixels, width)."""
        grad = self.part(grad_y, self.scales - 1)
        if self.pool:
            like = empty_feature_map(z1, self.width)
            grad = as_matrix(self.pool.backward(as_feature_map(grad.contiguous(), grad_y), like))
        return grad
