"""The table of names: unique, complete, and the one place where a variant is written down."""
from dataclasses import replace

import pytest
import torch
import yaml
from helpers import ROOT
from mmengine.registry import MODELS

from res2net_mm import DLA, Res2Net
from res2net_mm.checkpoints.weights import WeightFile
from res2net_mm.models import names, pretrained
from res2net_mm.models.complexity import count
from res2net_mm.models.names import ARCHITECTURES, build_backbone, find_name, known_names, normalise_name, resolve


def test_every_name_means_one_architecture():
    meanings = [(normalise_name(name), row.name) for row in ARCHITECTURES for name in known_names(row)]
    assert len(dict(meanings)) == len(set(meanings))
    for row in ARCHITECTURES:
        for name in known_names(row):
            assert resolve(name) is resolve(name.upper().replace('_', '-')) is resolve(f' {name}') is row


@pytest.mark.slow
@pytest.mark.parametrize('row', ARCHITECTURES, ids=lambda row: row.name)
def test_every_name_builds_its_architecture(row):
    """By config, and as ``arch`` where the backbone has that argument: the same weights."""
    with torch.device('meta'):
        shapes = {key: value.shape for key, value in MODELS.build(row.config).state_dict().items()}
        assert {key: value.shape for key, value in build_backbone(row.name).state_dict().items()} == shapes
        trunk = {'res2net_mm.Res2Net': Res2Net, 'res2net_mm.DLA': DLA}.get(row.type)
        for name in known_names(row) if trunk else ():
            assert {key: value.shape for key, value in trunk(arch=name).state_dict().items()} == shapes
    assert resolve(find_name(row.type, row.arguments)).arguments == row.arguments


@pytest.mark.parametrize('name, message', [
    ('res2net50_26w5s', r"no architecture is called 'res2net50_26w5s'; did you mean res2net50_26w\ds .*there are res2"),
    ('vgg16', "no architecture is called 'vgg16'; there are"), ('', 'no arch'),
    (None, 'no arch'), (7, 'no arch')])
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message):
        resolve(name)


def test_an_arch_is_one_of_its_trunk():
    for trunk, name in ((Res2Net, 'dla60'), (DLA, 'resnet50'), (Res2Net, 'bl_res2net50')):
        with pytest.raises(ValueError, match=f"{trunk.__name__}: arch='{name}' must be one of "):
            trunk(arch=name)


def test_running_times_are_those_of_table_3():
    tables = yaml.safe_load((ROOT / 'res2net_mm' / 'reproduction' / 'tables.yml').read_text())
    table = tables['table3']
    place = table['columns'].index('runtime_ms')
    times = {f'res2net50_{row["split"]}' if 'split' in row else 'resnet50': row['paper'][place]
             for row in table['rows'].values() if row['paper'][place] is not None}
    assert times == {row.name: row.published.runtime_ms for row in ARCHITECTURES if row.published.runtime_ms}
    assert len(times) == 5


def test_one_row_is_all_that_a_variant_needs(tmp_path, monkeypatch):
    """arch=, res2net_mm://, what counts parameters, what the benchmark builds, what --inspect says."""
    from res2net_mm.analysis.checkpoint_inspection import recover_backbone
    from res2net_mm.benchmark import contenders
    row = replace(resolve('res2net50_26w4s'), name='res2net26_8w3s', aliases=('Res2Net-tiny', ),
                  arguments=dict(names.RES2NET_ARGUMENTS, depth=26, scales=3, base_width=8))
    weights = replace(pretrained.find_weights('res2net50_26w4s'), name=row.name, architecture=row.name,
                      files=(WeightFile('https://x.org/a/b/tiny.pth'), ))
    for module in ('names', 'pretrained', 'layers.config_rules'):
        monkeypatch.setattr(f'res2net_mm.models.{module}.ARCHITECTURES', (*ARCHITECTURES, row))
    for module in ('names', 'pretrained'):
        monkeypatch.setattr(f'res2net_mm.models.{module}.WEIGHTS', (*pretrained.WEIGHTS, weights))
    monkeypatch.setenv('RES2NET_MM_WEIGHTS', str(tmp_path))
    with torch.device('meta'):
        model = Res2Net(arch='res2net-TINY')
    assert model.variant == 'Res2Net-26 8w3s'
    assert count(resolve('res2net26_8w3s').config, 64)[0] == sum(p.numel() for p in model.parameters()) + 2049 * 1000
    assert contenders.our_classifier('Res2Net-tiny').backbone.variant == 'Res2Net-26 8w3s'
    assert recover_backbone(model.state_dict()).name() == 'res2net26_8w3s'
    state = Res2Net(arch='Res2Net-tiny').state_dict()
    torch.save(state, tmp_path / 'tiny.pth')
    assert pretrained.read_weights('res2net_mm://Res2Net-tiny').keys() == state.keys()
