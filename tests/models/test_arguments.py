"""Constructor arguments: every one has a rule, and a wrong one is a ValueError that names it, whatever its type."""
import inspect
import random
import re
import subprocess
import sys

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


@pytest.mark.slow
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
            if not named or named[1] not in (model.__name__, 'Res2Net') or named[2] not in inspect.signature(
                    model).parameters:
                problems.append(f'{model.__name__}({arguments}): {error!r}')
        except Exception as error:
            problems.append(f'{model.__name__}({arguments}): {error!r}')
    assert not problems, f'{len(problems)} of 250:\n' + '\n'.join(problems[:20])
    assert 50 < built < 200


@pytest.mark.parametrize('model', MODELS)
def test_every_argument_has_a_rule(model):
    """And the signature that users and mmengine see is that of the model."""
    parameters = inspect.signature(model).parameters
    assert set(sys.modules[model.__module__].RULES) == set(parameters)
    assert all(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in parameters.values())


@pytest.mark.parametrize('arguments, message', [
    (dict(norm_cfg=dict(type='BNN')), r"norm_cfg={'type': 'BNN'} must be .* registered; near are 'BN'"),
    (dict(norm_cfg=dict(type='BN', epsilon=1)), r"norm_cfg={.*'epsilon': 1} must be what its layer takes: TypeError"),
    (dict(norm_cfg=dict(type='GN', num_groups=5)), r'norm_cfg=.*must be what its layer takes: .*divisible'),
    (dict(norm_cfg='BN'), r"norm_cfg='BN' must be a dict with a 'type', such as dict\(type='BN'\)"),
    (dict(conv_cfg={}), r"conv_cfg={} must be a dict with a 'type', such as dict\(type='Conv2d'\)"),
    (dict(conv_cfg=dict(type='Conv9')), r"conv_cfg={'type': 'Conv9'} must be .* registered; near are 'Conv"),
    (dict(dcn=dict(type='DCNv3')), r"dcn={'type': 'DCNv3'} must be .*'DCNv2'"),
    (dict(dcn=dict(type='DCNv2', deform_group=1), stage_with_dcn=(True, ) * 4), 'dcn={.*must be what its layer'),
    (dict(plugins=None), 'plugins=None must be a sequence of dicts'),
    (dict(plugins=['x']), r"plugins\[0\]='x' must be a dict with 'cfg', 'position'"),
    (dict(plugins=[dict(cfg=dict(type='ContextBlock'), postion='after_conv1')]), r"plugins\[0\]={.*'postion'.*must be"),
    (dict(plugins=[dict(cfg=dict(type='ContextBlock'), position='after_conv1')]), 'plugins={.*must be what its layer'),
    (dict(out_indices=(1, 1)), r'out_indices=\(1, 1\) must be a sequence in which none occurs twice'),
    (dict(style=['pytorch']), r"style=\['pytorch'\] must be one of 'pytorch', 'caffe'"),
    (dict(scales=np.int64(4)), r'scales=.*4.* must be an integer of at least 1'),
    (dict(init_cfg='res2net50.pth'), "init_cfg='res2net50.pth' must be a dict with the 'type' of an initialiser"),
    (dict(init_cfg=dict(type='Pretrained')), "init_cfg=.* must be a dict with a 'checkpoint'"),
    (dict(arch='se_res2net50_26w4s', depth=26, base_channels=3), 'se_reduction=16 must be an integer from 0 to 12'),
    (dict(arch='res2net50d', depth=26, base_channels=1, base_width=64), 'stem_channels=1 must be .* at least 2'),
])
def test_messages(arguments, message):
    with torch.device('meta'), pytest.raises(ValueError, match=f'^Res2Net: {message}'):
        Res2Net(**arguments)


@pytest.mark.slow
def test_operators_of_mmcv_are_imported_or_asked_for(monkeypatch):
    """DCNv2 registers itself when mmcv.ops is imported, which nobody has done in a new process."""
    pytest.importorskip('mmcv.ops')
    code = ("import sys; from res2net_mm import Res2Net; assert 'mmcv.ops' not in sys.modules; "
            "Res2Net(depth=26, base_channels=8, dcn=dict(type='DCNv2'), stage_with_dcn=(True, ) * 4)")
    subprocess.run([sys.executable, '-c', code], check=True)
    monkeypatch.setitem(sys.modules, 'mmcv.ops', None)
    monkeypatch.setattr('res2net_mm.models.layers.config_rules._has', lambda registry, name: False)
    with pytest.raises(ValueError, match='dcn=.*mmcv.ops, .*cannot be imported: install mmcv with'):
        Res2Net(dcn=dict(type='DCNv2'))


def test_unknown_arguments_are_a_type_error():
    with pytest.raises(TypeError, match="Res2Net: got an unexpected keyword argument 'scale'"):
        Res2Net(scale=4)
