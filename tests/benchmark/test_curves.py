"""tools/analysis_tools/cost_curves.py: equal multiply-adds, what a curve says, and a run."""
import json

import pytest
from helpers import expect_failure

from res2net_mm.benchmark import curves
from res2net_mm.cli.cost_curves import main
from res2net_mm.models import complexity
from res2net_mm.models.names import Architecture, resolve


@pytest.mark.slow
@pytest.mark.parametrize('scales', [1, 2, 7])
def test_equal_cost(scales):
    """No other width comes nearer to ResNet-50."""
    target = complexity.count(resolve('resnet50').config)[1]
    backbone = curves.backbone_of_equal_cost(scales)
    assert backbone['scales'] == scales

    def off(change):
        return abs(complexity.count(dict(backbone, base_width=backbone['base_width'] + change))[1] - target)

    assert off(0) < min(off(-1), off(1)) and off(0) < .05 * target
    if scales == 1:
        assert off(0) == 0 and backbone['base_width'] == 64


def row_of(curve, growth):
    return curves.CurveRow(curve, 'a', 'eager', [], [], [], [], growth)


def test_a_straight_line():
    """Twice the images take twice as long, less what a call costs; in every round, however slow the machine is."""
    seconds = [[(2 + 3 * x) * drift for drift in (1, 5, 2)] for x in (1, 2, 4)]
    growth = curves.measure_growth('batch', [1, 2, 4], seconds)
    assert growth.relative == pytest.approx([1, 4 / 5, 3.5 / 5])
    assert growth.step == pytest.approx(3.5 / 4) and growth.step_at == [2, 4]
    assert growth.off_line == pytest.approx(0, abs=1e-9)
    assert 'no cliff' in row_of('batch', growth).verdict()


def test_a_cliff():
    """A pixel takes twice as long from 64 pixels on."""
    growth = curves.measure_growth('image', [16, 32, 64, 128], [[16.**2], [32.**2], [2 * 64.**2], [2 * 128.**2]])
    assert growth.relative == [1, 1, 2, 2] and growth.step == 2 and growth.step_at == [32, 64]
    assert growth.off_line > .1
    verdict = row_of('image', growth).verdict()
    assert 'CLIFF' in verdict and 'time per pixel is 2.00, from 32 to 64' in verdict


def test_over_scales_the_images_stay_the_same():
    growth = curves.measure_growth('scales', [1, 2, 8], [[1.], [1.5], [1.2]])
    assert growth.relative == [1, 1.5, 1.2] and growth.step == 1.5 and growth.step_at == [1, 2]


@pytest.mark.slow
def test_command(tmp_path, monkeypatch):
    """A small backbone stands for every preset and every number of scales."""
    tiny = dict(type='res2net_mm.Res2Net', depth=26, base_channels=8, base_width=32, scales=2, num_stages=2,
                strides=(1, 2), dilations=(1, 1), out_indices=(1, ))
    small = Architecture('small', tiny['type'], {key: value for key, value in tiny.items() if key != 'type'})
    monkeypatch.setattr(curves, 'resolve', lambda name: small)
    monkeypatch.setattr(curves, 'backbone_of_equal_cost', lambda scales: dict(tiny, scales=scales))
    monkeypatch.setattr('res2net_mm.benchmark.timing.LEAST_SECONDS', 0)
    main(['resnet50', '--scales', '3', '1', '--batch-sizes', '1', '2', '--image-sizes', '32', '64', '96',
                      '--at', '2', '48', '--rounds', '2', '--device', 'cpu', '--out', str(tmp_path)])
    report = json.loads((tmp_path / 'cost_curves.json').read_text())
    assert [(row['curve'], row['model'], row['path'], row['x']) for row in report['rows']] == [
        ('scales', 'Res2Net-50', 'eager', [1, 3]), ('scales', 'Res2Net-50', 'accelerate', [1, 3]),
        ('batch', 'resnet50', 'eager', [1, 2]), ('batch', 'resnet50', 'accelerate', [1, 2]),
        ('image', 'resnet50', 'eager', [32, 64, 96]), ('image', 'resnet50', 'accelerate', [32, 64, 96])]
    for row in report['rows']:
        assert [len(values) for values in row['seconds']] == [2] * len(row['x'])
    batch, image = report['rows'][2], report['rows'][4]
    assert batch['macs'][1] == 2 * batch['macs'][0] == 2 * complexity.count(tiny, 48)[1]
    assert image['macs'] == [2 * complexity.count(tiny, size)[1] for size in (32, 64, 96)]
    page = (tmp_path / 'cost_curves.md').read_text()
    assert '| model | path | 1 (32w) | 3 (32w) | largest step |' in page and '| 32 | 64 | 96 |' in page
    assert (tmp_path / 'cost_curves.png').stat().st_size > 10_000


@pytest.mark.parametrize('arguments, message', [
    (['resnet51'], "no architecture is called 'resnet51'; did you mean resnet50 or"),
    (['--scales', '4'], '--scales 4: a curve has two points and more'),
    (['--scales', '0', '4'], r'--scales \[0, 4\]: must be at least 1'),
    (['--at', '1', '16'], '--at 1 16: must be at least 1 32'),
    (['--image-sizes', '16', '32'], r'--image-sizes \[16, 32\]: must be at least 32'),
])
def test_bad_arguments(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(curves, 'backbone_of_equal_cost', lambda scales: dict(base_width=1))
    expect_failure(capsys, main, [*arguments, '--device', 'cpu', '--out', str(tmp_path / 'out')], message)
    assert not (tmp_path / 'out').exists()
