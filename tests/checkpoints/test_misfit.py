"""Weights of another architecture: the message says what they are of, and where those that fit are."""
import pytest
import torch

from res2net_mm import DLA, Res2Net
from res2net_mm.checkpoints.misfit import describe_weights

RESNET = dict(scales=1, base_width=64)


@pytest.mark.parametrize('arguments, description', [
    ({}, 'Res2Net-50 26w4s (7x7 stem)'),
    (dict(arch='res2net101_v1b_26w4s'), 'Res2Net-101 26w4s (deep stem)'),
    (RESNET, 'ResNet-50 (7x7 stem)'),
    (dict(scales=1, base_width=4, groups=32), 'ResNeXt-50 (7x7 stem)'),
    (dict(arch='res2next50_8c4w4s'), 'Res2NeXt-50 8c4w4s (7x7 stem)'),
])
def test_description(arguments, description):
    with torch.device('meta'):
        assert describe_weights(Res2Net(**arguments).state_dict()) == description


@pytest.mark.parametrize('arch, description', [
    ('dla60', 'DLA'), ('dla60_res2net', 'DLA 28w4s'), ('dla60_res2next', 'DLA 8c4w4s')])
def test_description_of_another_trunk(arch, description):
    with torch.device('meta'):
        weights = DLA(arch=arch).state_dict()
    assert describe_weights(weights) == description
    with pytest.raises(ValueError, match=f'^The checkpoint of a {description} does not fit Res2Net-26 26w4s'):
        Res2Net(depth=26).load_state_dict(weights)


def test_strange_shapes_are_not_described():
    for shape in ((), (0, 4, 3, 3), (4, 0, 3, 3), (4, )):
        assert describe_weights({'layer1.0.conv1.weight': torch.ones(4, 4, 1, 1),
                                 'layer1.0.convs.0.weight': torch.ones(shape)}) == ''


@pytest.mark.parametrize('arguments, message', [
    (RESNET, r'^The checkpoint of a ResNet-26 \(7x7 stem\) does not fit Res2Net-26 26w4s \(7x7 stem\), nothing was '
             r"loaded. .*A ResNet's weights fit no Res2Net; write checkpoint='res2net_mm://NAME' .* docs/weights.md"),
    (dict(scales=8, base_width=14), r'of a Res2Net-26 14w8s \(7x7 stem\) does not .* [0-9]+ more; .*--inspect FILE$'),
    (dict(deep_stem=True), r'of a Res2Net-26 26w4s \(deep stem\) does not fit Res2Net-26 26w4s \(7x7 stem\)'),
])
def test_message(arguments, message):
    with pytest.raises(ValueError, match=message):
        Res2Net(depth=26).load_state_dict(Res2Net(depth=26, **arguments).state_dict())
