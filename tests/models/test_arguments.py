"""Constructor arguments: every one has a rule, and a wrong one is a ValueError that names it, whatever its type."""
import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch

from res2net_mm import DLA, BLRes2Net, CifarRes2NeXt, DSSHead, Res2Net, Res2SharedHead
from res2net_mm.models.layers.arguments import Text
from res2net_mm.models.layers.refusal import ArgumentError

MODELS = (Res2Net, DLA, BLRes2Net, CifarRes2NeXt, Res2SharedHead, DSSHead)


@pytest.mark.parametrize('model', MODELS)
def test_every_argument_has_a_rule(model):
    """And the signature that users and mmengine see is that of the model."""
    parameters = inspect.signature(model).parameters
    assert set(sys.modules[model.__module__].RULES) == set(parameters)
    assert all(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in parameters.values())


@pytest.mark.parametrize('arguments, message', [
    (dict(norm_cfg=dict(type='BNN')), r"norm_cfg={'type': 'BNN'} must be .* registered; did you mean BN"),
    (dict(norm_cfg=dict(type='BN', epsilon=1)), r"norm_cfg={.*'epsilon': 1} must be what its layer takes: TypeError"),
    (dict(norm_cfg=dict(type='GN', num_groups=5)), r'norm_cfg=.*must be what its layer takes: .*divisible'),
    (dict(norm_cfg='BN'), r"norm_cfg='BN' must be a dict with a 'type', such as dict\(type='BN'\)"),
    (dict(conv_cfg={}), r"conv_cfg={} must be a dict with a 'type', such as dict\(type='Conv2d'\)"),
    (dict(conv_cfg=dict(type='Conv9')), r"conv_cfg={'type': 'Conv9'} must be .* registered; did you mean Conv"),
    (dict(dcn=dict(type='DCNv3')), r"dcn={'type': 'DCNv3'} must be .*did you mean DCNv2"),
    (dict(dcn=dict(type='DCNv2', deform_group=1), stage_with_dcn=(True, ) * 4), 'dcn={.*must be what its layer'),
    (dict(plugins=None), 'plugins=None must be a sequence of dicts'),
    (dict(plugins=['x']), r"plugins\[0\]='x' must be a dict with 'cfg', 'position'"),
    (dict(plugins=[dict(cfg=dict(type='ContextBlock'), postion='after_conv1')]), r"plugins\[0\]={.*'postion'.*must be"),
    (dict(plugins=[dict(cfg=dict(type='ContextBlock'), position='after_conv1')]), 'plugins={.*must be what its layer'),
    (dict(out_indices=(1, 1)), r'out_indices=\(1, 1\) must be a sequence in which none occurs twice'),
    (dict(style=['pytorch']), r"style=\['pytorch'\] must be one of 'pytorch', 'caffe'"),
    (dict(scales=np.int64(4)), r'scales=.*4.* must be an integer from 1 to 256'),
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


@pytest.mark.parametrize('path', ['a' * 256, 'ä' * 128, 'folder/' + 'a' * 300, 'a/' * 2100, '\ud800'])
def test_paths_that_no_file_system_takes(path):
    with pytest.raises(ArgumentError, match='path=.* must be the name of a file or folder, of 4095 bytes at most'):
        Text(file=True).check('path', path, {})


@pytest.mark.parametrize('path', ['a' * 255, 'a/' * 2000, '\udcff', 'https://host/file?signature=' + 'a' * 300])
def test_long_paths_and_addresses(path):
    assert Text(file=True).check('path', path, {}) == path
