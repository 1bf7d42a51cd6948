"""The GPU check's arguments, and what it makes of a run; the check itself is `tools/gpu_check.sh --device cpu`."""
import json
from pathlib import Path

import pytest

from res2net_mm.benchmark import gpu_check
from res2net_mm.benchmark.gpu_check import CheckSettings
from res2net_mm.cli import benchmark, benchmark_models, cost_curves
from res2net_mm.cli import gpu_check as command
from res2net_mm.utils.config import packaged_configs


def test_arguments(tmp_path, monkeypatch, capsys):
    missing = 'has no coco and no VOCdevkit/VOC2012 and no sod'
    for arguments, message in ((['--data', str(tmp_path), '--device', 'cpu'], missing),
                               (['--data', str(tmp_path)], 'no CUDA device is available'),
                               (['--device', 'cpu'], '--data: the tasks need it'),
                               (['--device', 'cpu', '--parts', 'speeds'], "invalid choice: 'speeds'"),
                               (['--data', str(tmp_path), '--device', 'cpu', '--tasks', 'dss_r2n50'], 'has no sod')):
        monkeypatch.setattr('torch.cuda.is_available', lambda: False)
        with pytest.raises(SystemExit):
            command.main(arguments)
        assert message in capsys.readouterr().err


def test_every_task_has_its_config():
    assert {f'{task}.py' for task in gpu_check.TASKS} == {
        path.name for path in (packaged_configs() / 'overfit').glob('*.py')}


@pytest.mark.parametrize('exit_code', [0, 1])
def test_a_run_is_read(exit_code, tmp_path, monkeypatch):
    work_dir = tmp_path / 'mask_rcnn_r2n50_bfloat16'
    commands = []

    def run_python(arguments, log):
        commands.append(arguments)
        (work_dir / 'x' / 'vis_data').mkdir(parents=True, exist_ok=True)
        rows = [dict(step=step, loss=loss, time=time, memory=step) for step, loss, time in
                ((1, 8., 9.), (2, 4., .5), (3, 2., .25), (4, 1., .5))]
        (work_dir / 'x' / 'vis_data' / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)))
        (work_dir / 'x' / 'x.json').write_text(json.dumps({'coco/segm_mAP_50': 0.9}))
        (work_dir / 'last_checkpoint').write_text('iter_4.pth')
        (work_dir / 'mask_rcnn_r2n50.py').write_text('train_dataloader = dict(batch_size=4)\n')
        return exit_code, 1.5, 'what it printed\nits last words\n'

    monkeypatch.setattr(gpu_check, 'run_python', run_python)
    settings = CheckSettings(tmp_path, 'cuda', tmp_path, iterations=4)
    row = gpu_check.run_task('mask_rcnn_r2n50', 'bfloat16', settings, None)
    if exit_code:
        assert row == dict(task='mask_rcnn_r2n50', precision='bfloat16', train_seconds=1.5, error='its last words')
        return
    assert row['loss_first'] == 8 and row['loss_last'] == 1 and row['iterations'] == 4
    assert row['images_per_second'] == 8 and row['peak_memory_mb'] == 4 and row['coco/segm_mAP_50'] == 0.9
    assert '--amp' in commands[0] and 'train_cfg.max_iters=4' in commands[0] and 'iter_4.pth' in commands[1]


def test_times_are_measured_on_the_device(tmp_path, monkeypatch):
    """With arguments that the tools know: here they stop when they are about to run."""
    commands = []
    monkeypatch.setattr(gpu_check, 'run_python', lambda arguments, log: (
        commands.append(arguments), (3, 1.5, 'its\nlast words'))[1])
    for part in gpu_check.TIMES:
        for device in ('cuda', 'cpu'):
            settings = CheckSettings(tmp_path, device)
            assert gpu_check.run_benchmark(part, settings, None) == dict(seconds=1.5, error='last words')
            assert commands[-1][-4:] == ['--device', device, '--out', str(tmp_path / part)]
            assert ('--dtype' in commands[-1]) == (device == 'cuda')
    parsed = []
    tools = dict(benchmark=benchmark, benchmark_models=benchmark_models, cost_curves=cost_curves)
    for name, tool in tools.items():
        monkeypatch.setattr(tool, 'run_tool', lambda run, args: parsed.append(args))
        for path, *arguments in commands:
            if Path(path).stem == name:
                tool.main(arguments)
    assert len(parsed) == len(commands) and all(Path(command[0]).is_file() for command in commands)


def test_parts(tmp_path, monkeypatch, capsys):
    """Each is noted as soon as it is done, and one that fails makes the check fail."""
    monkeypatch.setattr(gpu_check, 'provenance', lambda device: {})
    monkeypatch.setattr(gpu_check, 'run_python', lambda arguments, log: (
        int('curves' in Path(arguments[0]).name), 1.5, f'ran {Path(arguments[0]).name}'))
    with pytest.raises(SystemExit) as stopped:
        command.main(['--device', 'cpu', '--parts', 'speed', 'curves', '--out', str(tmp_path)])
    assert stopped.value.code == 1
    assert 'speed {"seconds": 1.5, "summary": "ran benchmark.py"}' in capsys.readouterr().out
    report = json.loads((tmp_path / 'gpu_check.json').read_text())
    assert report['parts'] == dict(speed=dict(seconds=1.5, summary='ran benchmark.py'),
                                   curves=dict(seconds=1.5, error='ran cost_curves.py'))
    assert report['runs'] == []


def test_the_tests_see_the_gpus(tmp_path, monkeypatch):
    """They hide all GPUs, unless it is said which they may use."""
    monkeypatch.setattr('torch.cuda.device_count', lambda: 2)
    code = 'import os; print(os.environ["CUDA_VISIBLE_DEVICES"])'
    for visible, seen in ((None, '0,1'), ('1', '1')):
        monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
        if visible:
            monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
        with open(tmp_path / 'log', 'w') as log:
            assert gpu_check.run_python(['-c', code], log)[::2] == (0, f'{seen}\n')
