"""benchmark.py: what it counts, how it compares, and that peers compute what they are compared for."""
import json
from functools import partial

import pytest
import torch
from helpers import expect_failure, needs_compiler

from res2net_mm.benchmark import classifiers, contenders, report
from res2net_mm.cli.benchmark import main
from res2net_mm.models import complexity
from res2net_mm.models.names import build_backbone, resolve


@pytest.mark.slow
def test_command(tmp_path, capsys):
    main(['resnet50', 'res2net50_26w4s', '--paths', 'eager', 'train', '--batch-sizes', '2', '--image-size',
                    '32', '--rounds', '2', '--device', 'cpu', '--out', str(tmp_path)])
    results = json.loads((tmp_path / 'benchmark.json').read_text())
    assert results['image_size'] == 32 and results['device'] and results['command'].startswith('resnet50')
    assert [(row['preset'], row['path']) for row in results['rows']] == [
        ('resnet50', 'eager'), ('resnet50', 'train'), ('res2net50_26w4s', 'eager'), ('res2net50_26w4s', 'train')]
    for row in results['rows']:
        assert len(row['seconds']) == 2 and min(row['seconds']) > 0
        assert (row['params'], row['macs']) == complexity.count(resolve(row['preset']).config, 32)
    eager, train = results['rows'][2:]
    assert train['ms'] > eager['ms']
    assert 0 < eager['of_product'] < 1 and 0 < eager['of_copy'] < 2 and min(results['ceilings'].values()) > 0
    # 32 pixels: what a step holds at its peak are the gradients, and little else.
    assert 4 * train['params'] < train['step_memory'] < 5 * train['params']
    assert 12 * train['params'] < train['memory'] < 13 * train['params']
    assert eager['to_baseline']['median'] == pytest.approx(
        sum(a / b for a, b in zip(eager['seconds'], results['rows'][0]['seconds'])) / 2)
    page = (tmp_path / 'benchmark.md').read_text()
    assert '| 2 | res2net50_26w4s | res2net_mm | eager |' in page and '| ms |' not in page  # no times of a CPU
    assert 'TFLOP/s' not in page and report.CLAIM in page
    assert (tmp_path / 'benchmark.png').stat().st_size > 10_000
    assert 'res2net50_26w4s' in capsys.readouterr().out


def test_without_resnet50_there_is_no_figure(tmp_path, capsys):
    main(['res2net50_26w4s', '--batch-sizes', '1', '--rounds', '1', '--image-size', '32', '--device', 'cpu', '--out',
          str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ['benchmark.json', 'benchmark.md']
    page = (tmp_path / 'benchmark.md').read_text()
    assert '| 1 | res2net50_26w4s | res2net_mm | eager |' in page and '.png' not in page
    assert '.png' not in capsys.readouterr().out


def test_ratios_of_the_paper():
    """The issue of Table 3: 148, 153, 172 and 106 ms beside ResNet-50's 149."""
    ratios = {name: round(classifiers.published_time_ratio(name), 2) for name in classifiers.DEFAULT_ARCHS}
    assert list(ratios.values()) == [1, .99, 1.03, 1.15, .71]
    assert classifiers.published_time_ratio('res2net50_26w8s') is None


def test_answers():
    """Each question has the rows of its own, of the same batch size and preset."""

    def row(source, path, ms, arch='a', memory=0, step_memory=0, batch_size=1):
        cost = classifiers.ClassifierCost(params=1, macs=1, moved=1, weights=1, published_ratio=1.03)
        return classifiers.ClassifierRow(arch, source, path, batch_size, [ms / 1e3], cost, memory=memory,
                                         step_memory=step_memory)

    ours = 'res2net_mm'
    goals = report.answer_goals([
        row(ours, 'accelerate', 3), row(ours, 'accelerate-x', 2), row(ours, 'train', 8, memory=70, step_memory=30),
        row(ours, 'train-x', 9, memory=60, step_memory=20),
        row('timm', 'eager', 6), row('timm', 'compile', 4), row('timm', 'onnxruntime', 2.5),
        row('mmdet', 'eager', 5), row('mmdet', 'openvino', 1), row('mmdet', 'train', 16, memory=100, step_memory=80),
        row('mmdet', 'train-compile', 4, memory=1, step_memory=1),
        row(ours, 'accelerate', 8, 'resnet50'), row('timm', 'compile', 5, 'resnet50'),
        row(ours, 'train', 1, 'resnet50', 50, 50), row('timm', 'eager', 1, batch_size=8)])
    assert {goal.title: goal.answers for goal in goals} == {
        report.BEST: ["batch 1: a (accelerate-x) takes 0.80 of timm's (onnxruntime)",
                                "batch 1: resnet50 (accelerate) takes 1.60 of timm's (compile)"],
        report.ALONE: ["batch 1: a (accelerate) takes 0.50 of timm's (eager), 0.60 of mmdet's (eager)"],
        report.CLAIM: ["batch 1: a (accelerate-x) takes 0.40 of resnet50's (compile); paper 1.03"],
        report.STEP: ["batch 1: a (train) takes 0.50 of mmdet's (train)"],
        report.MEMORY: ["batch 1: a (train-x) takes 0.60 of mmdet's (train)",
                                  "batch 1: a (train-x) takes 0.25 of mmdet's (train), not counting weights, momentum "
                                  'and images'],
    }


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
    peer = contenders.PEERS[source](preset)
    assert (peer is not None) == exists
    if exists:
        ours = contenders.our_classifier(preset)
        assert sum(p.numel() for p in peer.parameters()) == sum(p.numel() for p in ours.parameters())


@pytest.mark.parametrize('path', [pytest.param('compile', marks=[pytest.mark.slow, needs_compiler]),
                                  pytest.param('onnxruntime', marks=pytest.mark.slow), 'openvino'])
def test_paths_compute_the_same(path):
    """What is timed is the model: on a small net, so that compiling it does not take long."""
    pytest.importorskip('onnxruntime' if path == 'onnxruntime' else 'torch' if path == 'compile' else 'openvino')
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU()).eval()
    batch = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        output = contenders.PATHS[path](model, batch)()
        if path == 'onnxruntime':
            output = torch.from_numpy(output[0])
        elif path == 'openvino':
            output = torch.from_numpy(output[0].copy())
        assert torch.allclose(output, model(batch), atol=1e-5)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_training_changes_the_weights(dtype):
    """They are in float32; a smaller type is that of the forward pass."""
    seen = []
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, contenders.CLASSES))
    model[1].register_forward_hook(lambda module, inputs, out: seen.append((module.training, out.dtype)))
    before = model[1].weight.clone()
    contenders.prepare_run(model, 'train', torch.randn(2, 3, 2, 2, dtype=dtype))
    assert not torch.equal(before, model[1].weight) and model[1].weight.dtype == torch.float32
    assert seen == [(True, dtype)]


def test_what_is_trained_in_its_place():
    model, other = torch.nn.Linear(1, 1), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 1000))
    before = other[1].weight.clone()
    with torch.no_grad():
        step = contenders.run_training(model, torch.randn(2, 3, 2, 2), lambda net: other if net is model else None)
        step()
    assert not torch.equal(before, other[1].weight)


def test_more_than_eight_models_are_compiled(monkeypatch):
    """PyTorch would run the ninth model of a class layer by layer, with a warning."""
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, 'compile', partial(torch.compile, backend=backend))
    limit = torch._dynamo.config.cache_size_limit
    for width in range(1, 13):
        model = complexity.Classifier(lambda x: [x], 2, width)
        contenders.prepare_run(model, 'compile', torch.randn(1, 2, 3, 3))
    torch._dynamo.reset()
    assert len(graphs) == 12
    assert torch._dynamo.config.cache_size_limit == limit


def test_what_cannot_run_is_left_out(monkeypatch):
    """A model that fails does not end a long run; a peer that has nothing to accelerate is not tried."""

    def fail(model, batch):
        raise RuntimeError('out of memory\nand a long trace')

    monkeypatch.setattr(contenders, 'our_classifier', lambda preset: torch.nn.Conv2d(3, 4, 1))
    monkeypatch.setitem(contenders.PEERS, 'timm', contenders.our_classifier)
    monkeypatch.setitem(contenders.PATHS, 'compile', fail)
    built, left_out = contenders.build_contenders(
        ['resnet50'], ['res2net_mm', 'timm'], ['eager', 'compile', 'accelerate'], torch.randn(1, 3, 4, 4))
    assert [(contender.source, contender.path) for contender in built] == [('res2net_mm', 'eager'), ('timm', 'eager')]
    assert left_out == ['compile of resnet50 of res2net_mm: out of memory',
                        'accelerate of res2net_mm: accelerate: Conv2d has no backbone of res2net_mm in it',
                        'compile of resnet50 of timm: out of memory']


@pytest.mark.parametrize('arguments, message', [
    (['resnet51'], "no architecture is called 'resnet51'; did you mean resnet50 or .* there are res2net50_48w2s, "),
    (['--batch-sizes', '4', '0'], r'--batch-sizes \[4, 0\]: must be at least 1'),
    (['--image-size', '16'], '--image-size 16: must be at least 32'),
    (['--rounds', '0'], '--rounds 0: must be at least 1'),
    (['--paths', 'onnxruntime', '--dtype', 'bfloat16'], '--paths onnxruntime: runs on the CPU and in float32 only'),
    (['--paths', 'accelerate-triton'], '--paths accelerate-triton: runs on a GPU only'),
    (['--paths', 'train', '--dtype', 'float16'], '--dtype float16: does not train'),
    (['--paths', 'accelerate-openvino', '--dtype', 'bfloat16'], '--paths accelerate-openvino: runs on the CPU and in'),
])
def test_bad_arguments(arguments, message, tmp_path, capsys):
    expect_failure(capsys, main, [*arguments, '--device', 'cpu', '--out', str(tmp_path / 'out')], message)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('name', ['dla60x', 'bl_res2net50', 'Res2Net-50-L'])
def test_presets_of_every_trunk(name):
    with torch.device('meta'):
        assert build_backbone(name).out_channels[-1] in (1024, 2048)
