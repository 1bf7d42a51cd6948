"""What a checkpoint is: its architecture, its stage_pool and why, and the config that loads it."""
import re
import tempfile
from pathlib import Path

import pytest
import torch
from helpers import BACKBONES, V1B, build, numbered, on_meta, other_library, small_state

from res2net_mm import Res2Net
from res2net_mm.analysis.checkpoint_inspection import backbone_config, inspect_checkpoint, recover_backbone
from res2net_mm.checkpoints.convert import convert
from res2net_mm.checkpoints.files import write_checkpoint
from res2net_mm.checkpoints.layouts import MASKRCNN_STEM, rename
from res2net_mm.cli.convert_checkpoint import main
from res2net_mm.models.names import ARCHITECTURES, resolve

FC = {'fc.weight': torch.ones(10, 512), 'fc.bias': torch.ones(10)}


def inspected(checkpoint):
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(checkpoint, Path(folder) / 'x.pth')
        return str(inspect_checkpoint(Path(folder) / 'x.pth'))


@pytest.mark.parametrize('name', [
    row.name for row in ARCHITECTURES if row.type == 'res2net_mm.Res2Net' and row.input_size == 224])
def test_inspect_recovers_the_architecture(name):
    """The line that --inspect prints builds a backbone that has exactly these weights."""
    state = numbered(on_meta(Res2Net, arch=name).state_dict())
    found, function = recover_backbone(state), resolve(name).arguments['stage_pool']
    assert found.name(function) == name
    common = dict(type='res2net_mm.Res2Net', init_cfg=dict(type='Pretrained', checkpoint='f.pth'))
    config = eval(backbone_config(found, function, 'f.pth').partition('=')[2])
    assert config == dict(common, arch=name)
    config = eval(backbone_config(found, 'strided', 'f.pth').partition('=')[2])
    assert config == dict(common, arch=found.name(), stage_pool='strided')
    assert found.name() == (name.replace('vd', 'v1b') if name != 'res2net200_vd_26w4s' else name)


def test_inspect_recovers_what_has_no_name():
    arguments = dict(depth=26, base_channels=16, scales=3, base_width=28, groups=2, num_stages=3, strides=(1, 2, 2),
                     dilations=(1, 1, 1), out_indices=(0, 1, 2))
    state = on_meta(Res2Net, **arguments).state_dict()
    found = recover_backbone(state)
    assert found.name() is None
    config = eval(backbone_config(found, None, 'f.pth').partition('=')[2])
    assert {**arguments, 'type': 'res2net_mm.Res2Net'}.items() == {
        k: v for k, v in config.items() if k != 'init_cfg'}.items()


@pytest.mark.parametrize('channels', [1, 4])
@pytest.mark.parametrize('name', ['v1', 'v1b', 'DLA', 'Big-Little', 'CIFAR'])
def test_inspect_recovers_the_channels_of_the_images(name, channels):
    found = recover_backbone(on_meta(build, BACKBONES[name], in_channels=channels).state_dict())
    assert found.name() is None
    assert eval(backbone_config(found, None, 'f.pth').partition('=')[2])['in_channels'] == channels


def test_inspect_says_which_stage_pool_and_why(tmp_path, capsys):
    v1b = small_state(**V1B)
    detector = {**{f'backbone.{key}': value for key, value in v1b.items()}, 'rpn_head.w': torch.ones(1)}
    zoo = "model=dict(backbone=dict(type='Res2Net'))"
    ours = "model=dict(backbone=dict(type='res2net_mm.Res2Net', stage_pool='always'))"
    vd = "model=dict(backbone=dict(type='res2net_mm.Res2Net', arch='res2net50_vd_26w4s'))"
    for checkpoint, text in [
        ({**v1b, **FC}, r"'always': an ImageNet classifier"),
        (small_state(), r"'always': a 7x7 stem"),
        (v1b, r"'always': a backbone alone with mmdet's names.*cannot tell"),
        (convert(v1b, 'timm')[0], r"'always': the names are those of official v1b or timm"),
        (convert(v1b, 'mmpretrain')[0], r"'always': the names are those of mmpretrain"),
        (detector, r"'strided': a whole model with mmdet's names.*cannot tell"),
        (dict(state_dict=detector, meta=dict(cfg=zoo)), r"'strided': .*config that is stored with it shows"),
        (dict(state_dict=detector, meta=dict(cfg=ours)), r"'always': the config that is stored"),
        (dict(state_dict=detector, meta=dict(cfg=vd)), r"'strided_hierarchical': the config that is stored"),
        (convert({**v1b, **FC}, 'paddle')[0], r"'strided_hierarchical': the names are those of PaddleClas"),
        (convert(small_state(), 'paddle')[0], r"'strided_hierarchical': the names are those of PaddleClas"),
        (small_state(scales=1, base_width=64), 'stage_pool:   changes nothing'),
    ]:
        assert re.search(text, inspected(checkpoint)), text

    text = inspected(dict(state_dict=detector, meta=dict(cfg=zoo), optimizer={}))
    assert 'wrapper:      state_dict; the file holds state_dict, meta, optimizer' in text
    assert "prefix:       'backbone.'; beside it: rpn_head (1)" in text
    assert "depth=26, base_channels=16, deep_stem=True, avg_down=True, stage_pool='strided', init_cfg=" in text
    write_checkpoint({'w': torch.ones(1)}, tmp_path / 'other.pth')
    main(['--inspect', str(tmp_path / 'other.pth')])
    assert 'no Res2Net' in capsys.readouterr().out


def test_inspect_names_the_variant_of_paddle():
    v1b = on_meta(Res2Net, arch='res2net50_v1b_26w4s').state_dict()
    theirs = convert(v1b, 'paddle')[0]
    text = inspected({key: torch.zeros(value.shape) for key, value in theirs.items()})
    assert re.search('layout: +PaddleClas', text) and re.search('preset: +res2net50_vd_26w4s', text)
    assert "arch='res2net50_vd_26w4s', init_cfg" in text
    v1 = convert(on_meta(Res2Net, arch='res2net50_14w8s').state_dict(), 'paddle')[0]
    text = inspected({key: torch.zeros(value.shape) for key, value in v1.items()})
    assert "arch='res2net50_14w8s', stage_pool='strided_hierarchical', init_cfg" in text


def test_inspect_a_dla():
    text = inspected(other_library('timm', 'dla60_res2next'))
    assert re.search('preset: +dla60_res2next', text)
    assert "type='res2net_mm.DLA', arch='dla60_res2next', init_cfg" in text


def test_inspect_maskrcnn_benchmark():
    state = rename({key: value for key, value in small_state().items() if 'num_batches' not in key},
                   {ours: name for name, ours in MASKRCNN_STEM.items()})
    state = {f'module.backbone.body.{key}': value for key, value in state.items()}
    state['module.rpn.head.conv.weight'] = torch.ones(1)
    text = inspected({'model': state})
    assert 'style=\'caffe\'' in text and "'backbone.body.'; beside it: rpn (1)" in text and "'always'" in text


@pytest.mark.parametrize('type, arguments', [
    ('BLRes2Net', dict(scales=2, base_width=8)), ('CifarRes2NeXt', dict(depth=20, scales=4, base_width=4, groups=2))])
def test_inspect_other_trunks(type, arguments):
    import res2net_mm
    found = recover_backbone(on_meta(getattr(res2net_mm, type), **arguments).state_dict())
    assert (found.type, found.name()) == (f'res2net_mm.{type}', None)
    assert arguments.items() <= found.arguments.items()
