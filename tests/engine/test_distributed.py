"""Two processes on the CPU (gloo) train what one does with the doubled batch: DDP, FSDP, and resuming across both."""
import json

import pytest
import torch
from helpers import AVERAGE_LOSS, CLASSIFIER, DEMO, arguments, logged, train_in_processes, write_pictures
from mmengine.registry import STRATEGIES
from mmengine.utils import digit_version

from res2net_mm.cli.test import main as run_test
from res2net_mm.engine.strategies import FSDPStrategy

pytestmark = pytest.mark.distributed

pytest.importorskip('mmpretrain')


class Run:
    """The log and the last checkpoint of a run of the classifier over 4 images in an iteration."""

    def __init__(self, folder, name, processes, *arguments, config='classifier.py'):
        train_in_processes(folder, config, processes, '--work-dir', name, '--auto-scale-lr', *arguments,
                           '--cfg-options', f'train_dataloader.batch_size={4 // processes}')
        self.rows = [json.loads(line) for line in next((folder / name).glob('*/vis_data/scalars.json')).open()]
        self.checkpoint = torch.load(folder / name / 'iter_4.pth', map_location='cpu', weights_only=False)

    def __getitem__(self, column):
        return [row[column] for row in self.rows]

    @property
    def momentum(self):
        """The optimizer's state of each weight, in their order."""
        optimizer = self.checkpoint['optimizer']
        return [optimizer['state'][key]['momentum_buffer'] for key in optimizer['param_groups'][0]['params']]

    def assert_continues(self, other, start):
        """The iterations after ``start``, and all that a checkpoint keeps of them, equal the other run's."""
        assert self['step'] == other['step'][start:] == list(range(start + 1, 5))
        assert self['lr'] == pytest.approx(other['lr'][start:])
        assert self['loss'] == pytest.approx(other['loss'][start:], rel=1e-4)
        assert self.checkpoint['meta']['iter'] == other.checkpoint['meta']['iter'] == 4
        mine, others = self.checkpoint['state_dict'], other.checkpoint['state_dict']
        assert list(mine) == list(others)
        for key in mine:
            torch.testing.assert_close(mine[key], others[key], rtol=1e-3, atol=1e-5, msg=key)
        assert len(self.momentum) == len(other.momentum) > 100
        for buffer, others in zip(self.momentum, other.momentum):
            torch.testing.assert_close(buffer, others, rtol=1e-2, atol=1e-4)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The config, its hook and 16 images of two classes."""
    folder = tmp_path_factory.mktemp('distributed')
    (folder / 'classifier.py').write_text(CLASSIFIER)
    (folder / 'average_loss.py').write_text(AVERAGE_LOSS)
    (folder / 'sharded.py').write_text("_base_ = ['classifier.py', 'res2net_mm::_base_/fsdp.py']\n")
    write_pictures(folder)
    return folder


@pytest.fixture(scope='module')
def one(folder):
    return Run(folder, 'one', 1)


@pytest.fixture(scope='module')
def two(folder):
    return Run(folder, 'two', 2)


def test_two_processes_equal_one_with_the_doubled_batch(one, two):
    two.assert_continues(one, 0)
    # Warm-up to 0.01, for 8 images an iteration; here there are 4.
    assert one['lr'] == pytest.approx([0.0005, 0.00275, 0.005, 0.005])
    assert len(set(one['loss'])) == 4


@pytest.mark.parametrize('before, after', [('two', 1), ('one', 2)])
def test_resume_with_another_number_of_processes(before, after, folder, one, two):
    resumed = Run(folder, f'{before}_then_{after}', after, '--resume', f'{before}/iter_2.pth')
    resumed.assert_continues(one, 2)


def test_accelerated(folder, one):
    """Two processes with blocks in one piece equal one without, in losses, weights and the optimizer's state."""
    accelerated = Run(folder, 'accelerated', 2, '--accelerate')
    accelerated.assert_continues(one, 0)


@pytest.mark.skipif(digit_version(torch.__version__) < digit_version('2.2'), reason="PyTorch 2.1's FSDP needs a GPU")
def test_fully_sharded(folder, one):
    """The same training with FSDP; resumed, and its checkpoint serves without FSDP too."""
    sharded = Run(folder, 'sharded', 2, config='sharded.py')
    sharded.assert_continues(one, 0)
    resumed = Run(folder, 'sharded_resumed', 2, '--resume', 'sharded/iter_2.pth', config='sharded.py')
    resumed.assert_continues(one, 2)


def test_not_to_be_sharded(tmp_path):
    with pytest.raises(ValueError, match='start it with tools/dist_train.sh'):
        STRATEGIES.build(dict(type='res2net_mm.FSDPStrategy', work_dir=str(tmp_path), env_kwargs=dict(launcher='none')))
    with pytest.raises(ValueError, match='clip_grad by norm'):
        FSDPStrategy.build_optim_wrapper(None, dict(clip_grad=dict(max_norm=1)))


def test_detector(shapes, tmp_path):
    """Training and evaluation of a detector, and the test of its checkpoint by a config for sharded training."""
    said = train_in_processes(tmp_path, DEMO, 2, *arguments(shapes, tmp_path / 'run'))
    assert 'GPU number: 2' in said  # mmengine's word for processes
    steps, evaluated = logged(tmp_path / 'run')
    assert steps == [1, 2] and len(evaluated) == 1

    config = tmp_path / 'sharded.py'
    config.write_text(f"_base_ = [{DEMO!r}, 'res2net_mm::_base_/fsdp.py']\n")
    run_test([str(config), str(tmp_path / 'run' / 'iter_2.pth'), *arguments(shapes, tmp_path / 'test')])
    report = next((tmp_path / 'test').glob('*/*.json'))
    assert 'coco/bbox_mAP' in json.loads(report.read_text())
