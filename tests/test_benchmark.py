"""tools/benchmark.py: what it counts, how it compares, and that peers compute what they are compared for."""
import json
import time

import pytest
import torch
from test_cli import expect_failure

from res2net_mm import benchmark, complexity
from res2net_mm.models.presets import PRESETS, build_preset


def test_command(tmp_path, capsys):
    benchmark.main(['resnet50', 'res2net50_26w4s', '--paths', 'eager', 'train', '--batch-sizes', '2', '--image-size',
                    '32', '--rounds', '2', '--device', 'cpu', '--out', str(tmp_path)])
    report = json.loads((tmp_path / 'benchmark.json').read_text())
    assert report['image_size'] == 32 and report['device'] and report['command'].startswith('resnet50')
    assert [(row['preset'], row['path']) for row in report['rows']] == [
        ('resnet50', 'eager'), ('resnet50', 'train'), ('res2net50_26w4s', 'eager'), ('res2net50_26w4s', 'train')]
    for row in report['rows']:
        assert len(row['seconds']) == 2 and min(row['seconds']) > 0
        assert (row['params'], row['macs']) == complexity.count(PRESETS[row['preset']], 32)
    eager, train = report['rows'][2:]
    assert train['ms'] > eager['ms']
    assert eager['to_baseline']['median'] == pytest.approx(
        sum(a / b for a, b in zip(eager['seconds'], report['rows'][0]['seconds'])) / 2)
    page = (tmp_path / 'benchmark.md').read_text()
    assert '| 2 | res2net50_26w4s | res2net_mm | eager |' in page and '| ms |' not in page  # no times of a CPU
    assert (tmp_path / 'benchmark.png').stat().st_size > 10_000
    assert 'res2net50_26w4s' in capsys.readouterr().out


def test_ratios_of_the_paper():
    """The issue of Table 3: 148, 153, 172 and 106 ms beside ResNet-50's 149."""
    ratios = {name: round(benchmark.paper_ratio(name), 2) for name in benchmark.DEFAULT_PRESETS}
    assert list(ratios.values()) == [1, .99, 1.03, 1.15, .71]
    assert benchmark.paper_ratio('res2net50_26w8s') is None


def test_rounds_are_interleaved(monkeypatch):
    """A machine that gets slower all the time: ratios stay right, since every round has both."""
    monkeypatch.setattr(benchmark, 'LEAST_SECONDS', 0)
    calls = []

    def run(name, seconds):
        def once():
            calls.append(name)
            time.sleep(seconds * (1 + len(calls) / 10))
        return once

    slow, fast = benchmark.time_rounds([run('slow', .02), run('fast', .01)], rounds=4)
    assert ''.join(name[0] for name in calls) == 'sf' + 'sf' + 'sffssffs'  # to warm up, to see how long, four rounds
    assert benchmark.ratio(slow, fast)['median'] == pytest.approx(2, rel=.3)


def test_quartiles():
    assert benchmark.ratio([2., 4., 6.], [1., 2., 2.]) == dict(median=2, low=2, high=3)
    assert benchmark.ratio([3.], [2.]) == dict(median=1.5, low=1.5, high=1.5)


def test_each_at_its_best():
    def row(preset, source, path, seconds):
        return dict(preset=preset, source=source, path=path, seconds=[seconds], batch_size=1, ms=1e3 * seconds)

    assert benchmark.bests([
        row('resnet50', 'res2net_mm', 'eager', 4.), row('resnet50', 'timm', 'compile', 2.),
        row('a', 'res2net_mm', 'eager', 5.), row('a', 'res2net_mm', 'accelerate', 3.),
        row('a', 'res2net_mm', 'train', 1.), row('a', 'timm', 'eager', 6.)]) == [
        'batch 1: resnet50 of res2net_mm at its best (eager) takes 2.00 of the fastest ResNet-50 (compile)',
        'batch 1: resnet50 of timm at its best (compile) takes 0.50 of ours (eager)',
        'batch 1: a of res2net_mm at its best (accelerate) takes 1.50 of the fastest ResNet-50 (compile)',
        'batch 1: a of timm at its best (eager) takes 3.00 of the fastest ResNet-50 (compile) and 2.00 of ours '
        '(accelerate)']


@pytest.mark.parametrize('source, preset, exists', [
    ('timm', 'res2net50_14w8s', True), ('timm', 'resnet50', True), ('timm', 'dla60_res2net', True),
    ('timm', 'res2net50_18w6s', False),
    ('mmpretrain', 'res2net50_14w8s', True), ('mmpretrain', 'resnet50', True),
    ('mmpretrain', 'res2next50_8c4w4s', False),
    ('mmdet', 'res2net50_v1b_26w4s', True), ('mmdet', 'resnet50', True), ('mmdet', 'res2net50_14w8s', False),
])
def test_peers_have_as_many_parameters(source, preset, exists):
    """A peer is compared only where it has the same architecture."""
    pytest.importorskip(source)
    theirs = benchmark.PEERS[source](preset)
    assert (theirs is not None) == exists
    if exists:
        ours = benchmark.from_here(preset)
        assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())


@pytest.mark.parametrize('path', ['compile', 'onnxruntime', 'openvino'])
def test_paths_compute_the_same(path):
    """What is timed is the model: on a small net, so that compiling it does not take long."""
    pytest.importorskip('onnxruntime' if path == 'onnxruntime' else 'torch' if path == 'compile' else 'openvino')
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU()).eval()
    batch = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        output = benchmark.PATHS[path](model, batch)()
        if path == 'onnxruntime':
            output = torch.from_numpy(output[0])
        elif path == 'openvino':
            output = torch.from_numpy(output[0].copy())
        assert torch.allclose(output, model(batch), atol=1e-5)


def test_training_changes_the_weights():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, benchmark.CLASSES))
    before = model[1].weight.clone()
    with torch.no_grad():
        benchmark.training(model, torch.randn(2, 3, 2, 2))()
    assert not torch.equal(before, model[1].weight)


@pytest.mark.parametrize('arguments, message', [
    (['resnet51'], "preset 'resnet51' must be one of res2net50_26w4s"),
    (['--batch-sizes', '4', '0'], r'--batch-sizes \[4, 0\]: must be at least 1'),
    (['--image-size', '16'], '--image-size 16: must be at least 32'),
    (['--rounds', '0'], '--rounds 0: must be at least 1'),
    (['--paths', 'onnxruntime', '--dtype', 'bfloat16'], '--paths onnxruntime: runs on the CPU and in float32 only'),
    (['--paths', 'accelerate-triton'], '--paths accelerate-triton: runs on a GPU only'),
    (['--paths', 'train', '--dtype', 'float16'], '--dtype float16: does not train'),
])
def test_bad_arguments(arguments, message, tmp_path, capsys):
    expect_failure(capsys, benchmark.main, [*arguments, '--device', 'cpu', '--out', str(tmp_path / 'out')], message)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('name', ['dla60x', 'bl_res2net50', 'Res2Net-50-L'])
def test_presets_of_every_trunk(name):
    with torch.device('meta'):
        assert build_preset(name).out_channels[-1] in (1024, 2048)
