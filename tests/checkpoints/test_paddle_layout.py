"""PaddleClas's names: those that its code gives, to ours and back, and weights that load by them."""
import pytest
import torch
from helpers import SMALL, V1B, build, numbered, on_meta, relative_error, small_state

from res2net_mm import Res2Net
from res2net_mm.checkpoints import loading
from res2net_mm.checkpoints.convert import convert
from res2net_mm.checkpoints.loading import adapt_classifier, find_prefix
from res2net_mm.checkpoints.paddle_layout import names_for, names_in

FC = {'fc.weight': torch.arange(5120.).view(10, 512), 'fc.bias': torch.ones(10)}


def state_of(arch):
    return numbered(on_meta(Res2Net, arch=arch).state_dict())


def without_counts(state):
    return {key: value for key, value in state.items() if not key.endswith('num_batches_tracked')}


NAMES = {  # read in its res2net.py and res2net_vd.py, and seen in what its models save
    'res2net50_26w4s': {
        'conv1._conv.weight': 'conv1.weight', 'conv1._batch_norm._variance': 'bn1.running_var',
        'bb_0_0.short._conv.weight': 'layer1.0.downsample.0.weight',
        'bb_0_0.short._batch_norm._mean': 'layer1.0.downsample.1.running_mean',
        'bb_0_0.conv0._conv.weight': 'layer1.0.conv1.weight', 'bb_3_2.conv2._batch_norm.bias': 'layer4.2.bn3.bias',
        'bb_2_5.res4f_branch2b_1._conv.weight': 'layer3.5.convs.0.weight',
        'bb_2_5.res4f_branch2b_3._batch_norm.weight': 'layer3.5.bns.2.weight'},
    'res2net50_14w8s': {'bb_1_3.res3d_branch2b_7._conv.weight': 'layer2.3.convs.6.weight'},
    'res2net50_vd_26w4s': {
        'conv1_1._conv.weight': 'stem.0.weight', 'conv1_2._batch_norm._mean': 'stem.4.running_mean',
        'conv1_3._batch_norm.bias': 'stem.7.bias', 'bb_0_0.short._conv.weight': 'layer1.0.downsample.1.weight',
        'bb_2_0.short._batch_norm.weight': 'layer3.0.downsample.2.weight'},
    'res2net101_vd_26w4s': {
        'bb_2_0.res4a_branch2b_2._conv.weight': 'layer3.0.convs.1.weight',
        'bb_2_22.res4b22_branch2b_2._conv.weight': 'layer3.22.convs.1.weight',
        'bb_1_3.res3d_branch2b_1._conv.weight': 'layer2.3.convs.0.weight'},
    'res2net200_vd_26w4s': {
        'bb_1_11.res3l_branch2b_1._conv.weight': 'layer2.11.convs.0.weight',
        'bb_2_47.res4b47_branch2b_1._batch_norm._mean': 'layer3.47.bns.0.running_mean'},
}


@pytest.mark.parametrize('arch', NAMES)
def test_there_and_back(arch):
    ours = without_counts(state_of(arch))
    theirs, notes = convert(ours, 'paddle')
    assert notes == ["PaddleClas computes stage_pool='strided_hierarchical'; weights that were trained as another "
                     'function give other features there']
    assert len(theirs) == len(ours) and not any(key.startswith(('layer', 'stem', 'bn')) for key in theirs)
    for name, own in NAMES[arch].items():
        assert theirs[name] is ours[own]
    assert convert(theirs, 'res2net_mm')[0] == ours
    assert names_in(theirs) == names_for(ours, 8 if '8s' in arch else 4)


def test_the_classifier_is_turned():
    ours = without_counts({**small_state(), **FC})
    theirs, _ = convert(ours, 'paddle')
    assert theirs['out.weight'].shape == (512, 10) and torch.equal(theirs['out.weight'].T, FC['fc.weight'])
    back, _ = convert(theirs, 'timm')
    assert torch.equal(back['fc.weight'], FC['fc.weight']) and back['fc.bias'] is FC['fc.bias']
    adapt_classifier(theirs)
    assert torch.equal(theirs['head.fc.weight'], FC['fc.weight']) and 'head.fc.bias' in theirs
    assert find_prefix(theirs) == 'backbone.'


def test_the_names_in_a_file_count_whatever_their_letters():
    """Another version of PaddleClas may number the blocks where this one has letters."""
    ours = without_counts(small_state(**V1B))
    theirs = {key.replace('res4b_', 'res4b1_'): value for key, value in convert(ours, 'paddle')[0].items()}
    assert 'bb_2_1.res4b1_branch2b_1._conv.weight' in theirs
    assert convert(theirs, 'res2net_mm')[0] == ours


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
@pytest.mark.parametrize('stage_pool, warned', [('strided_hierarchical', False), ('always', True)])
def test_a_backbone_takes_them_and_warns_if_it_computes_another_function(stage_pool, warned, prefix, monkeypatch):
    said = []
    monkeypatch.setattr(loading, 'print_log', lambda text, logger, level=None: said.append(text) if level else None)
    stored = Res2Net(depth=26, base_channels=16, stage_pool='strided_hierarchical', **V1B).eval()
    theirs, _ = convert({**stored.state_dict(), **FC}, 'paddle')
    model = Res2Net(depth=26, base_channels=16, stage_pool=stage_pool, **V1B).eval()
    model.load_state_dict({prefix + key: value for key, value in theirs.items()})
    assert bool(said) == warned and (not warned or "stage_pool='strided_hierarchical', and this" in said[0])
    x = torch.randn(1, 3, 64, 64)
    assert (relative_error(model(x)[0], stored(x)[0]) > 1e-3) == warned


def test_what_does_not_fit_is_listed():
    theirs, _ = convert(small_state(), 'paddle')
    del theirs['bb_1_0.conv0._conv.weight']
    with pytest.raises(ValueError, match=r'nothing was loaded.*1 missing: layer2\.0\.conv1\.weight'):
        Res2Net(depth=26, base_channels=16).load_state_dict(theirs)


@pytest.mark.parametrize('config, problem', [
    (dict(SMALL, scales=1), 'blocks without splits'), (dict(SMALL, groups=2), 'groups'),
    (dict(SMALL, se_reduction=16), 'squeeze-and-excitation'), (dict(SMALL, deep_stem=True), 'a deep stem without'),
    (dict(SMALL, avg_down=True), 'a deep stem without'), (dict(type='res2net_mm.DLA'), 'a trunk of another shape'),
    (dict(type='res2net_mm.BLRes2Net'), 'a trunk of another shape'),
    (dict(type='res2net_mm.CifarRes2NeXt', depth=11, first_block='stage'), 'a trunk of another shape'),
], ids=str)
def test_what_paddle_has_not(config, problem):
    with pytest.raises(ValueError, match=f'PaddleClas has no Res2Net with .*{problem}'):
        convert(numbered(on_meta(build, config).state_dict()), 'paddle')
