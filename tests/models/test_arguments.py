"""Constructor arguments: every one has a rule, and a wrong one is a ValueError that names it, whatever its type."""
import inspect
import random
import re

import numpy as np
import pytest
import torch

from res2net_mm import DLA, BLRes2Net, CifarRes2NeXt, DSSHead, Res2Net, Res2SharedHead

MODELS = (Res2Net, DLA, BLRes2Net, CifarRes2NeXt, Res2SharedHead, DSSHead)
# What every call starts from, so that a model is built in milliseconds.
SMALL = {Res2Net: dict(depth=26, base_channels=16), CifarRes2NeXt: dict(depth=11, groups=1, base_width=8),
         BLRes2Net: dict(scales=2), DLA: dict(scales=2), DSSHead: dict(in_channels=(3, ) * 5)}
ALLOWED = dict(
    arch=['res2net50_26w4s', 'Res2Net-50', 'dla60', 'resnet50', 'Res2Net-v1b-50'], depth=[26, 50, 11, 20],
    scales=[1, 2, 5, None], base_width=[4, 26, 64, None], groups=[1, 2, None], in_channels=[1, 4, (3, ) * 6],
    stem_channels=[8, None], base_channels=[8, 1], num_stages=[1, 3, 4], strides=[(1, 2, 2), [1, 2, 2, 1]],
    dilations=[(1, 1, 2), (1, 1, 1, 2)], out_indices=[(0, ), ('stem', 2), [3, 0], (0, 1, 2), (1, 1)],
    style=['pytorch', 'caffe'], deep_stem=[True, None], avg_down=[True, None], se_reduction=[0, 4, None],
    stage_pool=['always', 'strided'], contract_dilation=[True], multi_grid=[None, (1, 2), [2, 1]],
    dcn=[None, dict(type='DCNv2', deform_groups=1), dict(type='DCNv2', groups=3)],
    stage_with_dcn=[(False, True, False, False), (True, True, True)],
    plugins=[(), [dict(cfg=dict(type='ContextBlock', ratio=.25), position='after_conv2', stages=(True, ) * 4)],
             [dict(cfg=dict(type='ContextBlock'), position='after_conv2')]],
    frozen_stages=[-1, 0, 2, 5], conv_cfg=[None, dict(type='ConvAWS')],
    norm_cfg=[dict(type='GN', num_groups=1), dict(type='SyncBN'), dict(type='GN', num_groups=3), dict(type='GN')],
    norm_eval=[True], with_cp=[True], zero_init_residual=[True], alpha=[1, 4, 3], beta=[1, 4], stride=[1, 2],
    dilation=[1, 2], first_block=['stage', 'grouped'], init_cfg=[None, dict(type='Constant', val=1, layer='Conv2d')],
    channels=[(2, ) * 5, (2, ) * 6], kernel_sizes=[(3, ) * 5, (3, ) * 6], averaged=[('fused', 0)],
    reduction=['mean'], threshold=[.5, 1, 0])
WRONG = [
    None, True, False, 0, -1, 7, 2.0, float('nan'), float('inf'), 1 + 2j, 'x', '', 'BN', b'x', (), [], {},
    set(), (1, ), [1, 'a'], [[1]], [None], ['x'], (True, ), (0, 0), (1.0, ) * 4, (np.int64(1), ) * 4, range(4),
    np.int64(2), np.float32(2), np.array([1, 2]), np.array(1), torch.tensor(1), torch.ones(2), object(), int, len,
    dict(type='BN'), dict(type='BNN'), dict(type='Conv9'), dict(type='Conv2d'), dict(type=None), dict(type=3),
    dict(type=int), dict(type=[]), dict(type=''), dict(type='BN', epsilon=1), dict(type='BN', num_features=3),
    dict(type='ReLU'), dict(type='Conv2d', bias=True), dict(type='DCNv2'), dict(type='DCNv3'), dict(cfg=None),
    dict(type='Pretrained'), dict(type='Pretrained', checkpoint=3), [dict(type='BN')],
    [dict(cfg=dict(type='ContextBlock', ratio=.25))], [dict(position='after_conv1')], [{}],
    [dict(cfg=None, position='after_conv1')], [dict(cfg='x', position='after_conv1')],
    [dict(cfg=dict(type='ContextBlok'), position='after_conv1')],
    [dict(cfg=dict(type='ContextBlock', ratio=.25), position=['after_conv1'])],
    [dict(cfg=dict(type='ContextBlock', ratio=.25), position='after_conv1', stages=3)],
    [dict(cfg=dict(type='ContextBlock', ratio=.25), position='after_conv1', postfix='a.b')],
    [dict(cfg=dict(type='ContextBlock', ratio=.25), position='after_conv1', postfix=None)],
    [dict(cfg=dict(type='ContextBlock', ratio=.25), position='after_conv1')] * 2,
]


def random_calls(seed, count):
    """Random arguments, a third of them wrong, for random models."""
    rng = random.Random(seed)
    for _ in range(count):
        model = rng.choice(MODELS)
        names = list(inspect.signature(model).parameters)
        arguments = dict(SMALL.get(model, {}))
        for name in rng.sample(names, rng.randint(1, min(4, len(names)))):
            value = rng.choice(WRONG) if rng.random() < .35 else rng.choice(ALLOWED[name])
            arguments[name] = value
        yield model, arguments


@pytest.mark.parametrize('seed', range(6))
def test_random_arguments_build_or_are_named(seed):
    """250 calls for each seed: each builds the model, or is a ValueError that names model, argument and value."""
    built, problems = 0, []
    for model, arguments in random_calls(seed, 250):
        try:
            with torch.device('meta'):
                model(**arguments)
            built += 1
        except ValueError as error:
            named = re.match(r'(\w+): (\w+)(\[\d+\])?(\.\w+)?=.* must be ', str(error), re.DOTALL)
            if not named or named[1] not in (model.__name__, 'Res2Net') or named[2] not in arguments:
                problems.append(f'{model.__name__}({arguments}): {error!r}')
        except Exception as error:
            problems.append(f'{model.__name__}({arguments}): {error!r}')
    assert not problems, f'{len(problems)} of 250:\n' + '\n'.join(problems[:20])
    assert 50 < built < 200
