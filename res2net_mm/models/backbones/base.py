"""The base class of all backbones: outputs, initialisation, frozen stages and batch norms in eval mode."""
from __future__ import annotations

import logging
from typing import Any, Callable, Sequence

from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...checkpoints.loading import adapt_classifier
from ..layers.arguments import Flag, Integer
from ..layers.bottle2neck import Bottle2neck
from ..layers.config_rules import InitConfig, LayerConfig
from ..pretrained import PretrainedModule, as_list, is_pretrained
from ..tracing import Scriptable

MOST_SCALES = 256  # of a block; each is a layer that has to be built
COMMON_RULES = dict(  # of the arguments that every trunk has
    in_channels=Integer(1),
    norm_cfg=LayerConfig(),
    norm_eval=Flag(),
    with_cp=Flag(),
    init_cfg=InitConfig(sees_images=True),
)
DEFAULT_INIT: list[dict] = [
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
]


def batch_norms_to_eval(module: nn.Module) -> None:
    """Have the batch norms in a module use their running statistics, and leave these as they are."""
    for child in module.modules():
        if isinstance(child, _BatchNorm):
            child.eval()


class Backbone(Scriptable, PretrainedModule):
    """A stem followed by stages.

    A subclass has the attributes ``variant`` (its name in messages), ``stage_channels`` and ``stage_strides`` (of every
    stage's output), the properties ``stem_modules`` and ``stages``, and the method ``forward_stem``; and it calls
    ``_freeze_stages`` once built. One that allows 'stem' in ``out_indices`` has ``stem_channels`` and ``stem_stride``.
    How it takes weights is said by :class:`~.PretrainedModule`.

    Args:
        out_indices (Sequence[int | str]): Stages whose outputs are returned, and 'stem' for what ``forward_stem``
            returns.
        frozen_stages (int): Stages that are not trained: -1 none, 0 the stem, k the stem and the first k stages.
        norm_eval (bool): Keep batch norms in eval mode while training.
        zero_init_residual (bool): Start with the last norm of every block at zero; no effect on pretrained weights.
        init_cfg (dict | list[dict] | None): mmengine's initialisation; None: Kaiming for convolutions, ones for norms.
    """

    deep_stem = False
    stage_channels: Sequence[int]
    stage_strides: Sequence[int]
    stem_channels: int
    stem_stride: int
    # Takes a backbone and images to what goes into the first stage, in place of ``run_stem``.
    stem_executor: Callable[[Backbone, Tensor], Tensor] | None = None

    def __init__(self,
                 out_indices: Sequence[int | str],
                 frozen_stages: int,
                 norm_eval: bool,
                 zero_init_residual: bool,
                 init_cfg: dict | list[dict] | None) -> None:
        super().__init__(init_cfg or DEFAULT_INIT)
        self.out_indices = tuple(sorted(out_indices, key=('stem', 0, 1, 2, 3).index))
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.zero_init_residual = zero_init_residual

    @property
    def num_stages(self) -> int:
        """The number of stages."""
        return len(self.stage_channels)

    @property
    def stages(self) -> list[nn.Module]:
        """The stages, first to last."""
        return [getattr(self, f'layer{i + 1}') for i in range(self.num_stages)]

    @property
    def unneeded(self) -> tuple[str, ...]:
        """How the keys start of the stages that a whole checkpoint has and this backbone has not."""
        later = range(self.num_stages + 1, 5)
        return tuple(f'{name}.' for i in later for name in (f'layer{i}', f'level{i + 1}'))

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of each output."""
        return tuple(self.stem_channels if isinstance(i, str) else self.stage_channels[i] for i in self.out_indices)

    @property
    def out_strides(self) -> tuple[int, ...]:
        """The stride of each output, how many pixels of the image there are to one of its pixels."""
        return tuple(self.stem_stride if isinstance(i, str) else self.stage_strides[i] for i in self.out_indices)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps of the stages in ``out_indices``, first to last.

        Args:
            x (Tensor): Images, (n, in_channels, h, w).

        Returns:
            tuple[Tensor]: For each output (n, c, h/t, w/t), sizes rounded up, with c and t as ``out_channels`` and
            ``out_strides`` have them.
        """
        outs = []
        if 'stem' in self.out_indices:
            outs.append(self.forward_stem(x))
            x = self.after_stem(outs[0])
        else:
            x = self.run_stem(x) if self.stem_executor is None else self.stem_executor(self, x)
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def run_stem(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) -> what goes into the first stage, layer by layer."""
        return self.after_stem(self.forward_stem(x))

    def forward_stem(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) -> the feature map of the stem."""
        raise NotImplementedError

    @property
    def stem_modules(self) -> list[nn.Module]:
        """The modules with weights before the first stage."""
        raise NotImplementedError

    def after_stem(self, x: Tensor) -> Tensor:
        """Lead the stem's feature map into the first stage: as it is, unless a subclass pools it."""
        return x

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says, and warn if random weights would be held fixed."""
        super().init_weights()
        if any(map(is_pretrained, as_list(self.init_cfg))):
            return
        if self.zero_init_residual:
            for module in self.modules():
                if isinstance(module, Bottle2neck):
                    nn.init.zeros_(module.bn3.weight)
        frozen = [f'{name}={getattr(self, name)}' for name, harmless in (('frozen_stages', -1), ('norm_eval', False))
                  if getattr(self, name) != harmless]
        if frozen:
            print_log(
                f'{type(self).__name__} starts from RANDOM weights with {" and ".join(frozen)}: layers that were never '
                'trained are held fixed, and the loss is likely to become NaN. Unless load_from or resume brings '
                "trained weights, give init_cfg=dict(type='Pretrained', checkpoint=...), or set frozen_stages=-1 and "
                'norm_eval=False.',
                logger='current', level=logging.WARNING)

    def train(self, mode: bool = True) -> Backbone:
        """Set the training mode, but keep frozen stages, and batch norms under ``norm_eval``, in eval mode."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            batch_norms_to_eval(self)
        return self

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        for module in self.stem_modules + self.stages[:self.frozen_stages]:
            module.eval().requires_grad_(False)

    def _checkpoint_filter(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Have mmpretrain's ImageClassifier, which calls this before it loads anything, take a public classifier."""
        if not prefix:
            adapt_classifier(state_dict)
