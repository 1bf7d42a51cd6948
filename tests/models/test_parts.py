"""The parts of a model, with and without a neck, also inside of a distributed wrapper."""
from mmengine.model import is_model_wrapper
from mmengine.registry import MODEL_WRAPPERS
from torch import nn

from res2net_mm.models.parts import backbone_and_neck


def test_backbone_and_neck():
    model = nn.Module()
    model.backbone, model.neck, model.head = nn.Linear(1, 2), nn.Linear(2, 3), nn.Linear(3, 4)
    assert backbone_and_neck(model) == [model.backbone, model.neck]

    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    MODEL_WRAPPERS.register_module(module=Wrapper, name='WrapperOfTests', force=True)
    assert is_model_wrapper(Wrapper(model))
    model.neck = None
    assert backbone_and_neck(Wrapper(model)) == [model.backbone]
