"""What a tensor can be made from again, instead of being kept."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from torch import Tensor

from .layers import as_feature_map, as_matrix
from .norm_kernels import Norm, normalise


@dataclass(frozen=True)
class Step:
    """An output of a convolution that is normalised and added, and whether a ReLU follows."""

    output: Tensor  # (n, c, h, w), channels last
    norm: Norm
    relu: bool


@dataclass(frozen=True)
class Origin:
    """A base, or none, and what is added to it, step by step."""

    base: Tensor | None
    steps: tuple[Step, ...] = ()

    def then(self, output: Tensor, norm: Norm, relu: bool) -> Origin:
        """The origin of what one more step makes of the tensor."""
        return Origin(self.base, (*self.steps, Step(output, norm, relu)))

    def make(self) -> Tensor:
        """The tensor, (n, c, h, w), channels last."""
        x = self.base
        for step in self.steps:
            addend = None if x is None else as_matrix(x)
            x = as_feature_map(normalise(as_matrix(step.output), step.norm, addend=addend, relu_last=step.relu),
                               step.output)
        assert x is not None  # a base, a step, or both
        return x

    @property
    def tensors(self) -> list[Tensor | None]:
        """All tensors of it: what autograd saves."""
        return [self.base, *(step.output for step in self.steps), *(step.norm.vectors for step in self.steps)]

    @property
    def form(self) -> list[tuple[bool, bool]]:
        """All of it but the tensors."""
        return [(step.norm.statistics, step.relu) for step in self.steps]

    @classmethod
    def restore(cls, form: Sequence[tuple[bool, bool]], tensors: Sequence[Tensor | None]) -> Origin:
        """An origin of its form and its tensors."""
        base, outputs, vectors = tensors[0], tensors[1:len(form) + 1], tensors[len(form) + 1:]
        return cls(base, tuple(Step(output, Norm(of_norm, statistics), relu)
                               for (statistics, relu), output, of_norm in zip(form, outputs, vectors)))
