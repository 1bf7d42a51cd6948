"""Salient objects (paper Table 9): the DSS head, the sets and their masks, the metric, the recipe."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import (
    EXPERIMENTS,
    ROOT,
    SALIENCY_SIZES,
    TOOLS,
    config_path,
    free_port,
    python_path,
    randomise,
    relative_error,
    saliency_sample,
    write_image,
)
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope

from res2net_mm import load_config
from res2net_mm.cli.test import main as run_test
from res2net_mm.cli.train import main as run_train
from res2net_mm.datasets.saliency_folders import find_pairs, set_name
from res2net_mm.reproduction import tables as paper

pytest.importorskip('mmseg')
pysodmetrics = pytest.importorskip('py_sod_metrics')
CONFIG = config_path('dss_r2n50_msrab.py')
OVERFIT = config_path('dss_r2n50.py')
LEAVES = [path for path in EXPERIMENTS if path.name.startswith('dss_') and path.parent.name != 'small']
SOD = os.environ.get('RES2NET_MM_SOD')
SMALL = {  # a model for tests, in place of 50 or 101 layers
    'model.backbone.depth': 26,
    'model.backbone.base_channels': 8,
    'model.backbone.init_cfg': None,
    'model.decode_head.in_channels': [8, 32, 64, 128, 256],
    'model.decode_head.channels': [4, 4, 4, 4, 4],
}
FAST = {**SMALL, **{f'{split}_dataloader.{key}': value for split in ('train', 'val', 'test')
                    for key, value in (('num_workers', 0), ('persistent_workers', False))},
        'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2, 'default_hooks.checkpoint.interval': 2,
        'default_hooks.logger.interval': 1}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


def small(path=CONFIG):
    cfg = load_config(path)
    cfg.merge_from_dict(SMALL)
    return cfg


# The segmentor.


def test_gradients_reach_every_side():
    model = MODELS.build(small(OVERFIT).model).train()
    randomise(model)
    inputs = [torch.randint(256, (3, *size), dtype=torch.uint8) for size in ((64, 48), (56, 64))]
    samples = [saliency_sample(torch.randint(2, each.shape[1:])) for each in inputs]
    batch = model.data_preprocessor(dict(inputs=inputs, data_samples=samples), training=True)
    assert batch['inputs'].shape == (2, 3, 64, 64)
    loss, _ = model.parse_losses(model(**batch, mode='loss'))
    loss.backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.any(), name


@pytest.mark.parametrize('size', [(64, 64), (75, 53)])
def test_the_result_is_the_map_at_the_size_of_the_image(size):
    model = randomise(MODELS.build(small().model)).eval()
    image = torch.randint(256, (3, *size), dtype=torch.uint8)
    with torch.no_grad():
        result, = model.test_step(dict(inputs=[image], data_samples=[saliency_sample(torch.zeros(size))]))
        batch = model.data_preprocessor(dict(inputs=[image]))['inputs']
        maps = model.decode_head.side_logits(model.extract_feat(batch), size)
    mean = torch.stack([maps[i].sigmoid() for i in (0, 1, 2, 5)]).mean(0)[0]
    torch.testing.assert_close(result.seg_logits.data, mean, rtol=1e-4, atol=1e-5)
    assert torch.equal(result.pred_sem_seg.data, (result.seg_logits.data > 0.5).float())

    resized = saliency_sample(torch.zeros(size))
    resized.set_metainfo(dict(ori_shape=(100, 90)))
    result, = model.test_step(dict(inputs=[image], data_samples=[resized]))
    assert result.seg_logits.shape == (100, 90) and result.seg_logits.data.min() >= 0


class Exported(torch.nn.Module):
    """Normalised images -> saliency maps of their size."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch):
        return self.model.encode_decode(batch, [dict(img_shape=batch.shape[2:])] * len(batch)).sigmoid()


def test_onnx(tmp_path):
    """For images of any size. (PyTorch's new exporter, dynamo=True, does as well, and takes a minute.)"""
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    model, path = Exported(randomise(MODELS.build(small().model))).eval(), str(tmp_path / 'dss.onnx')
    torch.onnx.export(model, (torch.randn(1, 3, 64, 96), ), path, dynamo=False, opset_version=17,
                      input_names=['images'], dynamic_axes={'images': {2: 'height', 3: 'width'}})
    session = onnxruntime.InferenceSession(path)
    for shape in (64, 96), (75, 53):
        batch = torch.randn(1, 3, *shape)
        output, = session.run(None, {'images': batch.numpy()})
        with torch.no_grad():
            expected = model(batch)
        assert output.shape == (1, 1, *shape)
        assert np.abs(output - expected.numpy()).max() < 1e-4 and expected.std() > 1e-3


# Training and testing through the tools.


def options(**more):
    return ['--device', 'cpu', '--cfg-options',
            *(f'{key}={str(value).replace(" ", "")}' for key, value in {**FAST, **more}.items())]


def fails(command, *arguments):
    with pytest.raises(SystemExit) as end:
        command([str(argument) for argument in arguments])
    return str(end.value.code)


@pytest.fixture(scope='module')
def trained(saliency_sets, tmp_path_factory):
    """A work directory after two iterations of the recipe."""
    work_dir = tmp_path_factory.mktemp('run')
    run_train([str(CONFIG), '--data-root', str(saliency_sets), '--work-dir', str(work_dir), *options()])
    return work_dir


@pytest.mark.slow
def test_trains_by_its_recipe(trained):
    rows = [json.loads(line) for file in trained.glob('*/vis_data/scalars.json') for line in file.open()]
    assert [row['lr'] for row in rows if 'loss' in row] == [1e-8, 1e-8]
    assert all(row['loss'] == pytest.approx(sum(value for key, value in row.items() if 'decode.loss' in key), rel=1e-3)
               for row in rows if 'loss' in row)
    assert {'msra_b/f_measure', 'msra_b/mae', 'msra_b/s_measure', 'msra_b/e_measure', 'msra_b/weighted_f'} <= set(
        rows[-1])
    assert (trained / 'best_msra_b_f_measure_iter_2.pth').is_file()


def direct(masks, maps):
    """pysodmetrics on the saved maps, as its own examples call it."""
    metrics = dict(f=pysodmetrics.Fmeasure(), mae=pysodmetrics.MAE(), s=pysodmetrics.Smeasure(),
                   e=pysodmetrics.Emeasure(), w=pysodmetrics.WeightedFmeasure())
    for mask, saved in zip(masks, maps):
        for metric in metrics.values():
            metric.step(cv2.imread(str(saved), cv2.IMREAD_GRAYSCALE), cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE))
    result = {key: metric.get_results() for key, metric in metrics.items()}
    p, r = result['f']['pr']['p'], result['f']['pr']['r']
    return dict(f_measure=result['f']['fm']['curve'].max(), mae=result['mae']['mae'], s_measure=result['s']['sm'],
                e_measure=result['e']['em']['curve'].max(), weighted_f=result['w']['wfm'],
                f_of_mean=(1.3 * p * r / (0.3 * p + r + 1e-300)).max())


@pytest.fixture(scope='module')
def weights(saliency_sets, trained):
    """A checkpoint with weights of a size that makes maps vary."""
    torch.manual_seed(0)
    init_default_scope('mmseg')
    model = randomise(MODELS.build(small().model))
    torch.nn.init.normal_(model.decode_head.fuse.weight)
    torch.save(model.state_dict(), trained / 'random.pth')
    return trained / 'random.pth'


@pytest.mark.distributed
@pytest.mark.slow
def test_metric_equals_pysodmetrics_in_one_process_and_in_two(saliency_sets, weights, tmp_path, capsys):
    """All four sets of the recipe in one run: 5 + 2 + 3 + 2 images, and with two processes one of three twice."""
    common = ['--data-root', str(saliency_sets), '--work-dir', str(tmp_path / 'work')]
    logs = {}
    run_test([str(CONFIG), str(weights), *common,
              *options(**{'test_evaluator.save_dir': tmp_path / 'one'})])
    said = capsys.readouterr().out
    logs['one'] = json.loads(next((tmp_path / 'work').glob('*/*.json')).read_text())
    for number in ('0.910', '0.926', '0.823', '0.105', '0.905', '0.071'):  # the paper's, beside the measured
        assert number in said
    assert f'{logs["one"]["dut_omron/mae"]:.3f}' in said

    env = {**os.environ, 'PORT': free_port(), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': python_path(ROOT),
           'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'}
    hku = [str(CONFIG), str(weights), '2', '--setting', 'hku_is']
    result = subprocess.run([TOOLS / 'dist_test.sh', *hku, '--data-root', saliency_sets, '--work-dir', tmp_path / 'two',
                             *options()], env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    logs['two'] = json.loads(next((tmp_path / 'two').glob('*/*.json')).read_text())
    assert {key.partition('/')[0] for key in logs['two'] if '/' in key} == {'hku_is'}

    for name in ('ECSSD', 'PASCAL-S', 'HKU-IS', 'DUT-OMRON'):
        key, pairs = set_name(name), find_pairs(saliency_sets, name)
        maps = [tmp_path / 'one' / key / f'{image.stem}.png' for image, _ in pairs]
        assert [cv2.imread(str(saved), cv2.IMREAD_UNCHANGED).shape for saved in maps] == SALIENCY_SIZES[:len(pairs)]
        expected = direct([mask for _, mask in pairs], maps)
        for log in logs.values() if name == 'HKU-IS' else [logs['one']]:
            assert {metric: log[f'{key}/{metric}'] for metric in expected} == pytest.approx(expected, abs=1e-6)
    assert logs['one']['ecssd/mae'] != logs['one']['hku_is/mae']


@pytest.mark.slow
def test_bad_test_data_is_refused(broken_sets, weights, tmp_path):
    masks = broken_sets / 'ECSSD' / 'ground_truth_mask'
    (masks / 'E0.png').unlink()
    write_image(masks / 'E1.png', np.zeros((47, 63), np.uint8))
    write_image(masks / 'E2.png', np.zeros((64, 51, 3), np.uint8) + np.uint8([255, 0, 0]))
    test = [run_test, CONFIG, weights, '--work-dir', tmp_path, '--data-root', broken_sets]
    said = fails(*test, '--setting', 'ecssd', *options())
    assert '3 masks to evaluate on are bad' in said and 'E0.png does not exist' in said
    assert 'E1.png is a mask of 47 x 63 pixels for an image of 47 x 64' in said
    assert 'E2.png is a mask in colours' in said
    said = fails(*test, *options(**{'test_dataloader.dataset.sets': '[ECSSDD]'}))
    assert "no set 'ECSSDD'" in said and 'known sets are MSRA-B, ECSSD' in said
    assert "paper_table='table99' must be one of table1, " in fails(*test, *options(paper_table='table99'))
    assert 'only ecssd, pascal_s, hku_is, dut_omron' in fails(*test, '--setting', 'duts', *options())


@pytest.mark.slow
def test_bad_training_data_is_skipped(broken_sets, tmp_path, capsys):
    (broken_sets / 'MSRA-B' / 'Imgs' / 'M0.png').unlink()
    write_image(broken_sets / 'MSRA-B' / 'Imgs' / 'M1.png', np.zeros((9, 9), np.uint8))
    run = [str(CONFIG), '--data-root', str(broken_sets), '--work-dir', str(tmp_path)]
    # Of two runs of one name in one second, the second would log to where the first did.
    run_train([*run, *options(**{'train_cfg.max_iters': 8, 'train_cfg.val_interval': 8, 'experiment_name': 'skipped'})])
    said = capsys.readouterr()
    said = said.out + said.err
    assert said.count('M0.png does not exist') == 1 and said.count('is a mask of 9 x 9 pixels for an image of 47') == 1
    assert 'bad training sample' in fails(run_train, *run, '--strict-data', *options(**{'train_cfg.max_iters': 8}))


@pytest.mark.slow
def test_training_on_test_images_is_refused(broken_sets, tmp_path):
    copies = broken_sets / 'MSRA-B' / 'Imgs'
    shutil.copy(broken_sets / 'ECSSD' / 'images' / 'E0.jpg', copies / 'M9.jpg')
    shutil.copy(broken_sets / 'ECSSD' / 'ground_truth_mask' / 'E0.png', copies / 'M9.png')
    shutil.rmtree(broken_sets / 'HKU-IS')  # a set that is not there
    run = [run_train, CONFIG, '--data-root', broken_sets, '--work-dir', tmp_path, *options()]
    (broken_sets / 'MSRA-B' / 'train.txt').write_text('M0\nM9\n')
    said = fails(*run)
    assert '1 images to train on are images of the test set ECSSD' in said and 'M9.jpg = ' in said


# The recipes.


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_recipe(path):
    cfg = load_config(path)
    loader, wrapper = cfg.train_dataloader, cfg.optim_wrapper
    assert loader.batch_size * wrapper.accumulative_counts == 10 and cfg.auto_scale_lr.base_batch_size == 1
    assert loader.dataset.sets == ('MSRA-B:train.txt', ) and cfg.model.decode_head.get('reduction', 'sum') == 'sum'
    backbone = cfg.model.backbone
    assert backbone.norm_eval and not backbone.norm_cfg.requires_grad
    (schedule, ) = cfg.param_scheduler
    if path.stem.endswith('_adam'):
        assert (wrapper.optimizer.type, wrapper.optimizer.lr, schedule.milestones) == ('Adam', 5e-5, [15])
        assert cfg.train_cfg.max_epochs == 24 and wrapper.paramwise_cfg is None
    else:
        assert (wrapper.optimizer.type, wrapper.optimizer.lr) == ('SGD', 1e-8)
        assert cfg.train_cfg.max_iters == 10 * 12000 and schedule.milestones == [10 * 7500]
    assert cfg.test_dataloader.dataset.sets == ('ECSSD', 'PASCAL-S', 'HKU-IS', 'DUT-OMRON')
    assert list(cfg.test_settings) == list(paper.read_tables()['table9'].settings) == [
        set_name(name) for name in cfg.test_dataloader.dataset.sets]
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
        sizes = [each.shape[-1] for each in model.backbone.eval()(torch.empty(1, 3, 65, 65))]
    assert sizes == [33, 17, 9, 5, 5]
    assert tuple(side.conv1.in_channels for side in model.decode_head.sides) == model.backbone.out_channels


def test_learning_rates():
    """A tenth for what makes and merges maps, twice for biases, nothing for batch norms."""
    cfg = small()
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    rate = {id(group['params'][0]): group['lr'] / 1e-8 for group in wrapper.optimizer.param_groups}
    for name, p in model.named_parameters():
        expected = 0.1 if any(f'.{layer}.' in name for layer in ('score', 'merge', 'fuse')) else 1
        expected *= 2 if name.endswith('bias') else 1
        if '.bn' in name or 'downsample.1' in name:
            assert id(p) not in rate and not p.requires_grad
        else:
            assert rate[id(p)] == pytest.approx(expected), name


def test_overfitting_is_judged_on_its_own_images():
    cfg = load_config(OVERFIT)
    train, *tests = (cfg[f'{split}_dataloader'].dataset for split in ('train', 'val', 'test'))
    for test in tests:
        assert {key for key in test if test[key] != train.get(key)} == {'pipeline', 'test_mode'}
    assert cfg.model.backbone.init_cfg is None and len(train.indices) == cfg.train_dataloader.batch_size


def test_the_twin_takes_torchvisions_weights():
    """So the two stand on equal weights: our ResNet with its stem feature computes what torchvision's does."""
    torchvision = pytest.importorskip('torchvision')
    theirs = randomise(torchvision.models.resnet50(replace_stride_with_dilation=[False, False, True])).eval()
    cfg = load_config(config_path('dss_r50_msrab.py')).model.backbone
    cfg.init_cfg = None
    ours = MODELS.build(cfg).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        stem = theirs.relu(theirs.bn1(theirs.conv1(x)))
        outs = ours(x)
        third = theirs.layer3(theirs.layer2(theirs.layer1(theirs.maxpool(stem))))
    assert relative_error(outs[0], stem) < 1e-5 and relative_error(outs[3], third) < 1e-5


@pytest.mark.slow
def test_without_mmseg():
    """The head and all backbones register where mmseg is not installed."""
    code = ("import sys; sys.modules['mmseg'] = None\n"
            "from res2net_mm.registry import HOOKS, MODELS, TRANSFORMS\n"
            "assert MODELS.get('DSSHead') and MODELS.get('Res2Net') and HOOKS.get('RefuseTestImages')\n"
            "assert TRANSFORMS.get('LoadSaliencyAnnotations')")
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)
