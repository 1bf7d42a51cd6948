"""Arguments that other libraries have: the message names each, and what to write instead; whose configs these are."""
import importlib.util
import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from res2net_mm import DLA, BLRes2Net, CifarRes2NeXt, Res2Net
from res2net_mm.engine.hooks.refuse_test_images import RefuseTestImages
from res2net_mm.engine.hooks.resume_schedule import ResumeSchedule

TOOLBOXES = ('mmseg', 'mmdet', 'mmpose', 'mmpretrain')
REFUSED = {  # arguments in the toolboxes' configs of ResNets: what is not taken, and the values that are not
    'pretrained', 'width_per_group', 'se_ratio', 'expansion', 'drop_path_rate', 'radix', 'reduction_factor',
    'avg_down_stride', 'sac', 'stage_with_sac', 'output_img', 'rfp_inplanes', 'num_branch', 'test_branch_idx',
    'trident_dilations', 'input_size', 'num_attn_heads', 'output_dim',
    'depth', 'norm_cfg',
}


@pytest.mark.parametrize('arguments, message', [
    (dict(pretrained=None), 'pretrained=None: take it out'),
    (dict(pretrained='open-mmlab://resnet50_v1c'),
     r"pretrained='open-mmlab://resnet50_v1c': write init_cfg=dict\(type='Pretrained', checkpoint='res2net_mm://res2net5"
     r"0_26w4s'\) instead, .*weights.md; where the model has `pretrained`, which mmseg hands on, remove it"),
    (dict(width_per_group=8), 'width_per_group=8: write base_width=8 instead'),
    (dict(se_ratio=16, width_per_group=4),
     'se_ratio=16: write se_reduction=16 instead; and no width_per_group=4: write base_width=4 instead'),
    (dict(cardinality=8), 'cardinality=8: write groups=8 instead'),
    (dict(expansion=2), 'expansion=2: take it out; a stage has 4 times as many channels as planes .*'),
    (dict(drop_path_rate=0.05), 'drop_path_rate=0.05: take it out; .*'),
    (dict(radix=2, reduction_factor=4, avg_down_stride=True),
     'radix=2, reduction_factor=4, avg_down_stride=True: take out what belongs to ResNeSt; .*'),
    (dict(sac=dict(type='SAC'), output_img=True), r"sac={'type': 'SAC'}, output_img=True: take out .* DetectoRS .*"),
    (dict(num_branch=3, trident_dilations=(1, 2, 3)), r'num_branch=3, trident_dilations=\(1, 2, 3\): .* TridentNet .*'),
    (dict(scale=8), 'scale=8: did you mean scales.*. It takes arch, depth, .*, init_cfg'),
    (dict(in_chans=4), 'in_chans=4: did you mean in_channels.*'),
    (dict(output_dim=1024), 'output_dim=1024. It takes arch, .*'),
    (dict(baseWidth=26, pretrained=None),
     'baseWidth=26: did you mean base_width.*; and no pretrained=None: take it out. It takes arch, .*'),
])
def test_what_replaces_it(arguments, message):
    with pytest.raises(TypeError, match=f'^Res2Net: no argument {message}$'):
        Res2Net(**arguments)


@pytest.mark.parametrize('model', [DLA, BLRes2Net, CifarRes2NeXt])
def test_other_trunks(model):
    with pytest.raises(TypeError, match=f'^{model.__name__}: no argument pretrained=.dla60.: write init_cfg=.*it$'):
        model(pretrained='dla60')
    with pytest.raises(TypeError, match=r'no argument se_ratio=16.*[.?] It takes .*in_channels'):
        model(se_ratio=16)


def test_all_registered_classes_say_so():
    """Whatever has a schema of arguments; what replaces it is said of backbones alone."""
    with pytest.raises(TypeError, match=r'^ResumeSchedule: no argument pretrained=None. It takes '):
        ResumeSchedule(pretrained=None)
    with pytest.raises(TypeError, match=r'^RefuseTestImages: no argument foo=1'):
        RefuseTestImages(foo=1)
    with pytest.raises(TypeError, match='^Res2Net: multiple values for argument .arch'):
        Res2Net('res2net50_26w4s', arch='res2net50_26w4s')


@pytest.mark.parametrize('kind', ['DCN', 'DCNv2'])
def test_deformable_convolutions_as_mmdet_writes_them(kind):
    """mmdet takes ``fallback_on_stride`` out of the config before it builds the layer, in all of its configs False."""
    pytest.importorskip('mmcv.ops')
    stages = (False, True, True, True)
    dcn = dict(type=kind, deform_groups=1, fallback_on_stride=False)
    with torch.device('meta'):
        ours = Res2Net(depth=26, dcn=dcn, stage_with_dcn=stages)
        plain = Res2Net(depth=26, dcn=dict(type=kind, deform_groups=1), stage_with_dcn=stages)
    assert str(ours) == str(plain) and 'fallback_on_stride' in dcn
    with pytest.raises(ValueError, match=r'dcn=.*must be without fallback_on_stride'):
        Res2Net(dcn=dict(dcn, fallback_on_stride=True), stage_with_dcn=stages)


@pytest.mark.slow
def test_a_segmentor_hands_its_own_on():
    """mmseg's EncoderDecoder puts its ``pretrained`` into the config of the backbone."""
    mmseg = pytest.importorskip('mmseg.registry')
    init_default_scope('mmseg')
    head = dict(type='FCNHead', in_channels=2048, channels=8, num_classes=2, in_index=3)

    def build(pretrained):
        return mmseg.MODELS.build(ConfigDict(
            type='EncoderDecoder', backbone=dict(type='res2net_mm.Res2Net', depth=26), decode_head=head,
            pretrained=pretrained))

    with pytest.raises(TypeError, match=r"no argument pretrained='open-mmlab://resnet50_v1c'.* where the model has"):
        build('open-mmlab://resnet50_v1c')
    build(None)


# The configs of the installed toolboxes, with nothing changed but the type of a ResNet of any kind.


def resnets(toolbox):
    """The backbones of a toolbox's configs whose class is a ResNet, as {JSON of the arguments: a config that has it}.

    A config that names neither a backbone nor weights, or of whose bases none names a ResNet, has nothing new.
    """
    folder = (Path(importlib.util.find_spec(toolbox).origin).parent / '.mim' / 'configs').resolve()
    texts = {path: path.read_text(encoding='utf-8') for path in sorted(folder.rglob('*.py'))}

    def names_resnet(path):
        text = texts.get(path, '')
        bases = re.findall(r"'(\.[^']*\.py|[^/':]*\.py)'", text)
        return bool(re.search(r"'[\w.]*Res\w*Ne\w*'", text)) or any(
            names_resnet((path.parent / base).resolve()) for base in bases if (path.parent / base).resolve() != path)

    found = {}
    for path, text in texts.items():
        if not re.search('backbone|pretrained', text) or not names_resnet(path):
            continue
        try:
            model = Config.fromfile(path).get('model')
        except (RuntimeError, KeyError, OSError):  # five of their configs cannot be read
            continue
        for arguments in backbones(model, None):
            if re.search('Res2?[Nn]e', str(arguments.pop('type'))):
                found.setdefault(json.dumps(arguments, sort_keys=True), path)
    return found


def backbones(value, weights):
    """The configs of backbones in that of a model; mmseg hands the ``pretrained`` of a segmentor on."""
    if isinstance(value, dict):
        if value.get('type') in ('EncoderDecoder', 'CascadeEncoderDecoder'):
            weights = value.get('pretrained')
        for key, item in value.items():
            if key.endswith('backbone') and isinstance(item, dict) and 'type' in item:
                yield dict(item, **({} if weights is None else dict(pretrained=weights)))
            yield from backbones(item, weights)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from backbones(item, weights)


@pytest.mark.soak
@pytest.mark.parametrize('toolbox', TOOLBOXES)
def test_configs_in_which_only_the_type_was_changed(toolbox):
    """A backbone builds, or the error names its argument and what to do."""
    pytest.importorskip(toolbox)
    built, refused = 0, {}
    for text, path in resnets(toolbox).items():
        arguments = json.loads(text)
        try:
            with torch.device('meta'):
                Res2Net(**arguments)
            built += 1
        except (TypeError, ValueError) as error:
            message = str(error)
            named = {name for name in arguments if f'{name}=' in message.partition(' It takes ')[0]}
            assert named & REFUSED, f'{path}: {message}'
            assert re.search('take it out|take out|write .* instead|must be .|It takes', message), f'{path}: {message}'
            refused.setdefault(message, []).append(path)
    print(f'{toolbox}: {built} build, {sum(map(len, refused.values()))} are refused')
    for message, paths in refused.items():
        print(f'  {len(paths)}: {message}')
    assert built and (refused or toolbox == 'mmpose')
