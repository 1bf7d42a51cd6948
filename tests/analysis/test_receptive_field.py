"""Receptive fields: against fields that are known on paper, and the command's files and errors."""
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import randomise

from res2net_mm import DLA, BLRes2Net, Res2Net
from res2net_mm.analysis import receptive_field_figure
from res2net_mm.analysis.receptive_field import (
    ReceptiveField,
    calibrate_norms,
    last_blocks,
    measure_receptive_fields,
    positive_copy,
    theoretical_radii,
)
from res2net_mm.cli.receptive_field import main

CONFIG = "model = dict(backbone=dict(type='res2net_mm.Res2Net', depth=26, base_channels=8, num_stages=2, " \
         'strides=(1, 2), dilations=(1, 1), out_indices=(0, 1)))\n'


def small(**arguments):
    return randomise(Res2Net(depth=26, base_channels=8, **arguments)).eval()


def outside(field):
    """The energy beyond the theoretical field."""
    distance = np.abs(np.arange(len(field.energy)) - field.centre)
    return field.energy[np.maximum.outer(distance, distance) > field.theoretical].sum()


def test_radius():
    energy = np.zeros((8, 8))
    energy[4, 4], energy[4, 6], energy[1, 4] = .5, .45, .05
    field = ReceptiveField('layer1.0', 1, 4, energy, None)
    assert [field.radius(share) for share in (.4, .5, .9, .95, .99)] == [0, 0, 2, 2, 3]
    assert replace(field, energy=np.zeros((8, 8))).radius(.5) is None


def test_theoretical_fields_of_resnet_and_res2net():
    """Stem and max pooling reach 5 pixels (a field of 11), with a stride of 4; a 3x3 of layer1 adds 4, of layer2 8."""
    blocks = ['layer1.0', 'layer1.1', 'layer2.0', 'layer2.1']
    assert theoretical_radii(small(scales=1, base_width=64), blocks, 3) == {
        'layer1.0': [9], 'layer1.1': [13], 'layer2.0': [17], 'layer2.1': [25]}
    # Stage blocks: all splits 3x3, the pooled one too. Others: one more 3x3 with every split, and none in the last.
    assert theoretical_radii(small(), blocks, 3) == {
        'layer1.0': [9, 9, 9, 9], 'layer1.1': [13, 17, 21, 9],
        'layer2.0': [25, 25, 25, 25], 'layer2.1': [33, 41, 49, 25]}
    # mmdet's own Res2Net passes the last split of layer1.0 through.
    assert theoretical_radii(small(stage_pool='strided'), blocks[:1], 3) == {'layer1.0': [9, 9, 9, 5]}


def test_theoretical_field_of_resnet50():
    """That of the last block's 3x3 is 427 pixels wide: 11 + 3·8 + (8 + 3·16) + (16 + 5·32) + (32 + 2·64)."""
    model = randomise(Res2Net('resnet50', base_channels=8))
    assert 2 * theoretical_radii(model, ['layer4.2'], 3)['layer4.2'][0] + 1 == 427


def test_squeeze_and_excitation_sees_everything():
    model = small(se_reduction=4)
    radii = theoretical_radii(model, ['layer1.0', 'layer1.1'], 3)
    assert radii == {'layer1.0': [9, 9, 9, 9], 'layer1.1': [None] * 4}


@pytest.mark.parametrize('build', [
    small, lambda: small(deep_stem=True, avg_down=True),
    pytest.param(lambda: randomise(DLA('dla60_res2net', base_width=8)), marks=pytest.mark.slow),
    lambda: randomise(BLRes2Net(base_width=8))], ids=['v1', 'v1b', 'dla', 'bl'])
def test_effective_fields_are_inside_the_theoretical_ones(build):
    model = build()
    blocks = last_blocks(model)[:1]
    inputs = torch.randn(3, 3, 128, 128)
    calibrate_norms(model, inputs)  # else a thin split's unit may be dead
    fields = measure_receptive_fields(model, inputs, blocks)
    assert [field.block for field in fields] == [block for block in blocks for _ in range(4)]
    for field in fields:
        assert field.energy.sum() == pytest.approx(1) and outside(field) == 0
        assert 0 < field.radius(.5) <= field.radius(.9) <= field.radius(.95) <= field.theoretical


def test_each_split_sees_more_than_the_one_before():
    # Linear, with positive weights, so that all channels of a split are alike: 3 and 7, whose signs cannot cancel.
    model = positive_copy(small(base_width=28))
    y = measure_receptive_fields(model, torch.ones(1, 3, 64, 64, dtype=torch.float64), ['layer1.1', 'layer2.0'])
    spread = []
    for field in y:
        distance = np.abs(np.arange(64) - field.centre)
        spread.append((field.energy * np.maximum.outer(distance, distance)).sum())
    assert spread[3] < spread[0] < spread[1] < spread[2]  # y_4 = u_4 passes by
    assert y[3].radius(.95) < y[0].radius(.95) < y[2].radius(.95)
    assert np.allclose(y[4].energy, y[5].energy) and np.allclose(y[4].energy, y[7].energy)  # a stage block's are alike


def test_one_split_is_resnet():
    mmpretrain = pytest.importorskip('mmpretrain.models')
    resnet = randomise(mmpretrain.ResNet(50, stem_channels=8, base_channels=8, expansion=4)).double()
    ours = Res2Net('resnet50', base_channels=8).double()
    ours.load_state_dict(resnet.state_dict())
    inputs = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    assert last_blocks(resnet) == last_blocks(ours) == ['layer1.2', 'layer2.3', 'layer3.5', 'layer4.2']
    fields, expected = (measure_receptive_fields(model, inputs, ['layer2.3']) for model in (ours, resnet))
    assert len(fields) == len(expected) == 1
    assert fields[0].theoretical == expected[0].theoretical and np.allclose(fields[0].energy, expected[0].energy)


def test_calibrated_norms_have_the_statistics_of_the_inputs():
    model, inputs = small(), torch.randn(4, 3, 64, 64)
    calibrate_norms(model, inputs)
    outputs = []
    model.bn1.register_forward_hook(lambda module, args, output: outputs.append(output.clone()))
    with torch.no_grad():
        torch.nn.init.ones_(model.bn1.weight)
        torch.nn.init.zeros_(model.bn1.bias)
        model(inputs)
    assert not model.training and outputs[0].mean().abs() < .01 and abs(outputs[0].std() - 1) < .01


@pytest.mark.slow
def test_command(tmp_path, capsys):
    config, checkpoint = tmp_path / 'small.py', tmp_path / 'small.pth'
    config.write_text(CONFIG)
    model = randomise(Res2Net(depth=26, base_channels=8))
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in model.state_dict().items()
                                if not k.startswith(('layer3', 'layer4'))}), checkpoint)
    image = tmp_path / 'image.png'
    import cv2
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 255, (70, 90, 3), np.uint8))
    out = tmp_path / 'out'
    main(['--config', str(config), str(checkpoint), '--images', str(image), '--size', '64', '--out', str(out),
          '--blocks', 'layer1.0', 'layer1.1'])
    assert 'y_4' in capsys.readouterr().out and cv2.imread(str(out / 'small.png')) is not None
    blocks = json.loads((out / 'receptive_field.json').read_text())['models']['small']['blocks']
    assert [row['theoretical'] for row in blocks['layer1.1']] == [13, 17, 21, 9]
    assert all(row['radius']['50'] <= row['radius']['95'] <= row['theoretical'] for row in blocks['layer1.1'])


@pytest.mark.parametrize('channels', [1, 4])
@pytest.mark.parametrize('on_images', [False, True])
def test_images_of_other_channels(channels, on_images, tmp_path):
    (tmp_path / 'small.py').write_text(CONFIG.replace('depth', f'in_channels={channels}, depth'))
    import cv2
    cv2.imwrite(str(tmp_path / 'image.png'), np.random.default_rng(0).integers(0, 255, (70, 90, 3), np.uint8))
    arguments = ['--images', str(tmp_path / 'image.png')] if on_images else ['--inputs', '1']
    main(['--config', str(tmp_path / 'small.py'), '--size', '64', '--out', str(tmp_path), '--blocks', 'layer1.1',
          *arguments])
    blocks = json.loads((tmp_path / 'receptive_field.json').read_text())['models']['small']['blocks']
    assert [row['theoretical'] for row in blocks['layer1.1']] == [13, 17, 21, 9]


def test_channels_of_the_inputs():
    inputs, of_channels = torch.randn(2, 3, 4, 4), receptive_field_figure.of_channels
    assert of_channels(inputs, 3).equal(inputs) and of_channels(inputs, 1).equal(inputs[:, :1])
    assert of_channels(inputs, 5).equal(torch.cat([inputs, inputs[:, :2]], dim=1))


@pytest.mark.parametrize(('arguments', 'message'), [
    (['resnet51'], "no architecture is called 'resnet51'; did you mean resnet50 or"),
    (['--size', '100'], '--size 100'),
    (['--inputs', '0'], '--inputs 0'),
    (['--config', 'a', 'b', 'c'], 'at most one checkpoint'),
    (['--config', 'nothing.py'], "config 'nothing.py' does not exist"),
    (['--images', 'nothing.jpg'], "image 'nothing.jpg' does not exist"),
    (['--config', 'CONFIG', '--blocks', 'layer9.0'], 'there is no block layer9.0; there are layer1.0'),
    (['--config', 'CONFIG', 'OTHER'], "other.pth' does not fit the backbone of"),
])
def test_errors_name_the_argument(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'small.py').write_text(CONFIG)
    torch.save(Res2Net(depth=26, base_channels=8, scales=2).state_dict(), tmp_path / 'other.pth')
    names = dict(CONFIG='small.py', OTHER='other.pth')
    with pytest.raises(SystemExit, match='error: ') as error:
        main([names.get(argument, argument) for argument in arguments])
    assert message in str(error.value)
