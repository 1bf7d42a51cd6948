"""Accelerated backbones on NVIDIA GPUs: the kernel's launches, replayed as CUDA graphs."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple, Union

import torch
from torch import Tensor, fx, nn

from ..prepared_sizes import PreparedSizes
from .kernel import COMPILED
from .passes import use_kernels

Outputs = Union[Tensor, Tuple[Tensor, ...]]


@dataclass(frozen=True)
class Recording:
    """A CUDA graph, and the tensors that it reads and writes."""

    weights: tuple[tuple[int, torch.dtype], ...]  # where they lie
    graph: torch.cuda.CUDAGraph
    images: Tensor
    outs: Outputs


class TritonBackbone(nn.Module):
    """A module whose convolutions are calls of the kernel, replayed as CUDA graphs.

    It runs in float32, bfloat16 or float16. A graph replays all launches at once. It is for one batch size and image
    size, and captured when these come for the second time; 8 graphs are kept, for the first such sizes, and other sizes
    are launched kernel by kernel. The first call of a kind tries several tiles for every convolution, which takes
    minutes once; Triton caches what it compiled. What is returned is never overwritten by a later call. Calls must not
    run on several CUDA streams at a time.

    Args:
        module (fx.GraphModule): A rewritten module; it is used up.
        images (Tensor): (n, c, h, w), an example of what it takes.
    """

    def __init__(self, module: fx.GraphModule, images: Tensor) -> None:
        super().__init__()
        use_kernels(module, images)
        self.module = module
        self.graphs = PreparedSizes()
        self.eval()

    def forward(self, images: Tensor) -> Outputs:
        """Run the module in the type of its weights.

        Args:
            images (Tensor): (n, c, h, w) on a CUDA device, of any layout.

        Returns:
            Tensor | tuple[Tensor]: What the module returns, in the layout of the images.

        Raises:
            ValueError: If the images are elsewhere, or need a gradient.
        """
        if COMPILED and not images.is_cuda:
            raise ValueError(f'{type(self).__name__} runs on CUDA, not on {images.device}')
        if torch.is_grad_enabled() and images.requires_grad:
            raise ValueError(f'{type(self).__name__} has no gradients: call it under torch.no_grad(), or detach the '
                             'images')
        layout = torch.contiguous_format if images.is_contiguous() else torch.channels_last
        dtype = next(self.buffers()).dtype
        with torch.no_grad(), torch.cuda.device_of(images), torch.autocast(images.device.type, enabled=False):
            recording = self._recording(images)
            if recording is None:
                outs = self.module(images.to(dtype, memory_format=torch.channels_last))
                return fx.node.map_aggregate(outs, lambda out: out.contiguous(memory_format=layout))
            recording.images.copy_(images)
            recording.graph.replay()
            return fx.node.map_aggregate(recording.outs, lambda out: out.clone(memory_format=layout))

    def _recording(self, images: Tensor) -> Recording | None:
        """The recording for images of this size, if there is one or it is time to capture one."""
        if not images.is_cuda or not images.numel() or torch.cuda.is_current_stream_capturing():
            return None
        weights = tuple((tensor.data_ptr(), tensor.dtype) for tensor in (*self.parameters(), *self.buffers()))
        if any(recording.weights != weights for recording in self.graphs.prepared.values()):
            self.graphs = PreparedSizes()  # these would go on with the weights that were replaced
        return self.graphs.get((images.shape, images.device), lambda: self._capture(images, weights))

    def _capture(self, images: Tensor, weights: tuple[tuple[int, torch.dtype], ...]) -> Recording:
        graph = torch.cuda.CUDAGraph()
        static = torch.empty_like(images, dtype=next(self.buffers()).dtype, memory_format=torch.channels_last)
        # One pool of memory for all graphs: what a replay leaves in it, but for outputs that are copied, is not read.
        pool = next(iter(self.graphs.prepared.values())).graph.pool() if self.graphs else None
        # Other threads, such as one that pins the memory of batches, may do meanwhile what a capture forbids.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode='thread_local'):
            outs = self.module(static)
        return Recording(weights, graph, static, outs)

    def _apply(self, *args: Any, **kwargs: Any) -> nn.Module:
        self.graphs = PreparedSizes()  # the old ones use the weights where these were
        return super()._apply(*args, **kwargs)
