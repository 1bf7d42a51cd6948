"""Classification: what the configs say, the paper's parameters, public weights, small sets of images, bad input."""
import ast
import pickle
import re

import cv2
import numpy as np
import pytest
import torch
from helpers import CONFIGS, EXPERIMENTS, ROOT, config_path, expect_failure, randomise, relative_error
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import Runner
from torch.utils.flop_counter import FlopCounterMode

from res2net_mm import load_config
from res2net_mm.cli.arguments import common_arguments
from res2net_mm.cli.test import main as run_test
from res2net_mm.models.names import resolve
from res2net_mm.models.pretrained import SCHEME, find_weights
from res2net_mm.models.public_weights import WEIGHTS
from res2net_mm.reproduction.runs import count_parameters
from res2net_mm.reproduction.tables import read_tables
from res2net_mm.utils.config_edits import move_data_root

structures = pytest.importorskip('mmpretrain.structures')
IMAGENET, CIFAR, SMALL = (
    [path for path in EXPERIMENTS if path.name.startswith(names)
     and not (names == 'cifar' and path.parent.name == 'small')]  # whose recipe is another one: docs/evidence.md
    for names in ('imagenet_', 'cifar', ('digits_', 'sizes_')))
TABLES = read_tables()


def each(paths):
    return pytest.mark.parametrize('path', paths, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def build(cfg):
    return MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))


def header(path):
    return ' '.join(ast.get_docstring(ast.parse(path.read_text())).split())


def without_memory(cfg):
    # mmpretrain's ResNet asks a tensor for its value while it is built.
    with torch.device('cpu' if cfg.model.backbone.type == 'ResNet' else 'meta'):
        return build(cfg).to('meta').eval()


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def multiply_adds(model, image_size):
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, image_size, image_size, device='meta'))
    return counter.get_total_flops() // 2


# The configs.


@pytest.mark.slow
@each(IMAGENET)
def test_imagenet_counts(path):
    """The header's numbers: counted here or in docs/complexity.md; and the published ones, where there are any."""
    size = 299 if path.stem in ('imagenet_inception_v3', 'imagenet_r2n50_26w4s_299') else 224
    model = without_memory(load_config(path))
    params = parameters(model)
    rows = [re.split(r' *\| *', line) for line in (ROOT / 'docs' / 'complexity.md').read_text().splitlines()]
    counted = [row[6].split()[0] for row in rows if len(row) > 8 and (row[2], row[4].split()[0])
               == (str(size), f'{params / 1e6:.3f}')]
    macs = float(counted[0]) if counted else multiply_adds(model, size) / 1e9
    said = re.search(r'([\d.]+) M parameters.*?([\d.]+) G multiply-adds', header(path))
    assert float(said[1]) == pytest.approx(params / 1e6, abs=0.0051)
    assert float(said[2]) == pytest.approx(macs, abs=0.0051)
    for name in re.findall(r'res2net_mm://(\w+)', header(path)):
        cost = resolve(name).published
        assert cost.params == f'{(params + cost.unused[0]) / 1e6:.2f}' and cost.params in header(path)
    theirs = dict(imagenet_r50=25557032, imagenet_r101=44549160, imagenet_densenet161=28681000,
                  imagenet_inception_v3=23834568)  # torchvision's; the last without the auxiliary classifier
    assert params == theirs.get(path.stem, params)


@each([path for path in CIFAR if 'cifar100' in path.name and path.stem != 'cifar100_rx29_6c24w'])
def test_cifar_counts(path):
    """As published, which is without batch norms; the SE rows are further off (docs/complexity.md)."""
    model = without_memory(load_config(path))
    norms = sum(parameters(module) for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d))
    params = parameters(model)
    [row] = [row for row in TABLES['table4'].rows.values() if row.config == path.name]
    published = row.paper[None]
    assert f'{published["top1_err"]:.2f} %' in header(path) and f'{published["params_m"]} M' in header(path)
    assert f'{(params - norms) / 1e6:.2f} here' in header(path)
    error = abs((params - norms) / 1e6 - published['params_m'])
    assert error < (1.2 if '6c24w4s_se' in path.name else 0.4 if path.stem.endswith('_se') else 0.07)


@pytest.mark.slow
def test_counts_of_figure_5():
    """Every row with its changes, as suggested by the complexity of scale 2 to 6; nothing else is another model."""
    counts = {}
    for row in TABLES['fig5'].rows.values():
        cfg = load_config(config_path(row.config))
        cfg.merge_from_dict(row.changes)
        counts[row.name] = round(count_parameters(cfg), 2)
    scales, groups, depths = range(2, 7), (12, 18, 24, 30, 36), (47, 74, 101, 128, 155)
    assert counts == {
        'start': 6.98, **dict(zip([f'scale{scale}' for scale in scales], (11.89, 18.09, 24.30, 30.51, 36.72))),
        **dict(zip([f'cardinality{number}' for number in groups], (13.19, 19.40, 25.61, 31.82, 38.02))),
        **dict(zip([f'depth{depth}' for depth in depths], (11.39, 17.99, 24.60, 31.20, 37.80)))}
    assert '6.98 M' in header(config_path('cifar100_rx29_6c24w.py'))


def test_digits_start_where_their_header_says():
    path = config_path('digits_rx29_6c4w.py')
    assert f'{count_parameters(load_config(path)):.2f} M' in header(path)


def test_every_row_of_the_tables_has_its_config():
    """Of the paper's 31 rows all but those it quotes from others, and with the numbers in the config's header."""
    without = {row.name for name in ('table1', 'table2', 'table3', 'table4') for row in TABLES[name].rows.values()
               if not row.config}
    assert without == {'wrn', 'densenet_bc'}
    for name in ('table1', 'table2', 'table3'):
        for row in TABLES[name].rows.values():
            numbers = row.paper[None]
            wanted = ' / '.join(f'{numbers[key]:.2f}' for key in ('top1_err', 'top5_err') if key in numbers)
            assert f'{wanted} %' in header(config_path(row.config))


@each(IMAGENET + CIFAR)
def test_header_has_the_public_weights(path):
    text = header(path)
    arch = load_config(path).model.backbone.get('arch')
    for name in re.findall(r'res2net_mm://(\w+)', text):
        for accuracy, digits in zip(find_weights(name).accuracies, (2, 3)):
            assert ' / '.join(f'{value:.{digits}f}' for value in accuracy.values) in text
    assert ('res2net_mm://' in text) == (arch in [weights.name for weights in WEIGHTS] or path.stem in (
        'imagenet_r2n50_26w4s', 'imagenet_r2n101_26w4s'))


@each([path for path in IMAGENET if '_v1' not in path.name])
def test_imagenet_recipe(path):
    cfg = load_config(path)
    optimizer, schedule = cfg.optim_wrapper.optimizer, cfg.param_scheduler
    assert (optimizer.type, optimizer.lr, optimizer.momentum, optimizer.weight_decay) == ('SGD', 0.1, 0.9, 1e-4)
    assert (schedule.type, schedule.milestones, schedule.gamma) == ('MultiStepLR', [30, 60, 90], 0.1)
    assert cfg.train_cfg.max_epochs == 100
    assert cfg.train_dataloader.batch_size * 4 == cfg.auto_scale_lr.base_batch_size == 256
    assert cfg.model.head.loss == dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=1000)
    train, test = cfg.train_dataloader.dataset.pipeline, cfg.test_dataloader.dataset.pipeline
    assert [step.type for step in train] == ['LoadImageFromFile', 'RandomResizedCrop', 'RandomFlip', 'PackInputs']
    sizes = (299, 342, 299) if path.stem.endswith(('_299', '_v3')) else (224, 256, 224)
    assert (train[1].scale, test[1].scale, test[2].crop_size) == sizes
    assert cfg.val_dataloader == cfg.test_dataloader and test[1].edge == 'short'
    assert train[1].backend == test[1].backend == 'pillow'
    assert cfg.train_dataloader.collate_fn.type == 'default_collate' and cfg.train_dataloader.persistent_workers


def test_without_label_smoothing():
    """By the option that the recipe's docstring names, the loss is plain cross-entropy."""
    option = re.search(r'(model\.\S+)=(\S+)', header(CONFIGS / '_base_' / 'imagenet_bs256.py'))
    args = common_arguments('').parse_args(['', '--cfg-options', option[0]])
    cfg = load_config(config_path('imagenet_r2n50_26w4s.py'))
    scores, labels = torch.randn(4, 1000), torch.tensor([1, 2, 3, 999])
    smoothed = MODELS.build(cfg.model.head.loss)(scores, labels)
    cfg.merge_from_dict(args.cfg_options)
    plain = MODELS.build(cfg.model.head.loss)(scores, labels)
    cross_entropy = torch.nn.functional.cross_entropy
    assert torch.allclose(plain, cross_entropy(scores, labels))
    assert torch.allclose(smoothed, cross_entropy(scores, labels, label_smoothing=0.1)) and smoothed != plain


@pytest.mark.parametrize('name', ['imagenet_r50', 'imagenet_r2n50_26w4s', 'imagenet_r2nx50_8c4w4s'])
def test_starts_as_the_official_code(name):
    """Kaiming with fan-out, and no residual branch starts at zero, though mmpretrain's ResNet would have it so."""
    backbone = MODELS.build(load_config(config_path(f'{name}.py')).model.backbone)
    backbone.init_weights()
    assert all((module.weight == 1).all() for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d))
    conv = backbone.layer3[1].conv3
    assert conv.weight.std().item() == pytest.approx((2 / conv.out_channels)**0.5, rel=0.02)


def test_299_is_224_with_larger_images():
    ours, small, inception = (load_config(config_path(f'imagenet_{name}.py')).to_dict()
                              for name in ('r2n50_26w4s_299', 'r2n50_26w4s', 'inception_v3'))
    assert {key for key in small if small[key] != ours[key]} <= {
        'model', 'train_pipeline', 'test_pipeline', 'train_dataloader', 'val_dataloader', 'test_dataloader'}
    for cfg in (ours, inception):
        cfg['model'].pop('backbone'), cfg['model'].pop('neck'), cfg['model']['head'].pop('type')
        cfg['model']['head'].pop('in_channels', None), cfg['model']['head'].pop('num_classes', None)
        cfg['model']['head'].pop('_delete_', None)
    assert ours == inception


def test_modern_recipe():
    cfg = load_config(config_path('imagenet_r2n50_v1b.py'))
    warm_up, cosine = cfg.param_scheduler
    assert (warm_up.type, cosine.type) == ('LinearLR', 'CosineAnnealingLR') and warm_up.end == cosine.begin == 5
    assert cosine.begin + cosine.T_max == cosine.end == cfg.train_cfg.max_epochs == 300
    model = build(cfg).train()
    data = model.data_preprocessor(batch(4, 32, 1000), training=True)
    scores = torch.stack([sample.gt_score for sample in data['data_samples']])
    assert (scores.sum(1) == 1).all() and ((scores > 0).sum(1) == 2).any()  # mixed
    assert torch.isfinite(model(**data, mode='loss')['loss'])


def batch(n, size, classes):
    """What a dataloader of mmpretrain yields."""
    samples = [structures.DataSample().set_gt_label(i * 7 % classes) for i in range(n)]
    return dict(inputs=torch.randint(256, (n, 3, size, size), dtype=torch.uint8), data_samples=samples)


@pytest.mark.parametrize('name, size', [
    ('imagenet_r50', 32), ('imagenet_r2n50_14w8s', 32), ('imagenet_r2nx50_8c4w4s', 32), ('imagenet_se_r2n50', 32),
    ('imagenet_dla60_r2n', 32), ('imagenet_bl_r2n50', 32), ('imagenet_inception_v3', 75), ('imagenet_densenet161', 32),
    ('cifar100_r2nx29_6c24w4s_se', 8), ('cifar10_r2nx29_6c24w4s', 8), ('digits_r26', 32), ('digits_rx29_6c4w', 8),
    ('sizes_r2n26', 32),
])
def test_trains_a_step(name, size):
    cfg = load_config(config_path(f'{name}.py'))
    model = build(cfg).train()
    classes = cfg.model.head.get('num_classes', 1000)
    assert classes == dict(imagenet=1000, cifar100=100, cifar10=10, digits=10, sizes=4)[name.partition('_')[0]]
    loss, _ = model.parse_losses(model(**model.data_preprocessor(batch(2, size, classes), training=True), mode='loss'))
    loss.backward()
    assert torch.isfinite(loss) and all(p.grad is not None for p in model.parameters())


@each(CIFAR)
def test_cifar_recipe(path):
    cfg = load_config(path)
    optimizer, (schedule, ) = cfg.optim_wrapper.optimizer, cfg.param_scheduler
    assert (optimizer.type, optimizer.lr, optimizer.momentum, optimizer.weight_decay) == ('SGD', 0.05, 0.9, 5e-4)
    assert optimizer.nesterov and schedule.milestones == [150, 225] and cfg.train_cfg.max_epochs == 300
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 64
    assert cfg.data_preprocessor.mean == [123.675, 116.28, 103.53] and not cfg.data_preprocessor.to_rgb
    crop, flip, _ = cfg.train_dataloader.dataset.pipeline
    assert (crop.type, crop.crop_size, crop.padding, flip.type) == ('RandomCrop', 32, 4, 'RandomFlip')
    kinds = {cfg[f'{split}_dataloader'].dataset.type for split in ('train', 'val', 'test')}
    assert kinds == {path.stem.partition('_')[0].upper()}
    assert cfg.data_preprocessor.num_classes == cfg.model.head.num_classes


def test_cifar_data_in_the_original_files(tmp_path, monkeypatch):
    """CIFAR-100's files as they are published, but of 8 images: through the dataset and the preprocessor."""
    cfg = load_config(config_path('cifar100_r2nx29_6c24w4s.py'))
    folder = tmp_path / 'cifar-100-python'
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (8, 3072), np.uint8)
    (folder / 'test').write_bytes(pickle.dumps(dict(data=images, fine_labels=list(range(8)))))
    move_data_root(cfg, str(tmp_path))
    checked = 'mmpretrain.datasets.CIFAR100._check_integrity'
    monkeypatch.setattr(checked, lambda self: True)  # the checksums are of the whole files
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    sample = dataset[3]
    data = dict(inputs=sample['inputs'][None], data_samples=[sample['data_samples']])
    preprocessed = MODELS.build(dict(cfg.data_preprocessor, type='ClsDataPreprocessor'))(data)['inputs']
    mean, std = (torch.tensor(cfg.data_preprocessor[key]).view(3, 1, 1) for key in ('mean', 'std'))
    expected = (torch.from_numpy(images[3].reshape(3, 32, 32)).float() - mean) / std  # red, green, blue
    assert torch.allclose(preprocessed[0], expected) and sample['data_samples'].gt_label == 3


# Public weights, written to disk in the layouts that they are published in.


@pytest.fixture(scope='module')
def tiny_imagenet(tmp_path_factory):
    """ImageNet in miniature: 1000 empty class folders, of which two have one image for the test."""
    root = tmp_path_factory.mktemp('imagenet')
    rng = np.random.default_rng(0)
    for label in range(1000):
        (root / 'val' / f'n{label:08d}').mkdir(parents=True)
    for label in (3, 997):
        image = cv2.resize(rng.integers(0, 256, (9, 12, 3), np.uint8), (100, 75), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / 'val' / f'n{label:08d}' / 'image.png'), image)
    return root


def mmpretrains(state):
    """As mmpretrain writes its checkpoints."""
    names = {key: ('head.' if key.startswith('fc.') else 'backbone.') + key for key in state}
    return dict(meta={}, state_dict={names[key]: value for key, value in state.items()})


@pytest.mark.slow
@pytest.mark.parametrize('config, weights, model, layout', [
    ('imagenet_r2n50_26w4s', 'res2net50_26w4s', 'res2net50_26w_4s', 'official'),
    ('imagenet_r2n50_14w8s', 'res2net50-w14-s8_3rdparty_8xb32_in1k', 'res2net50_14w_8s', 'mmpretrain'),
    ('imagenet_r2nx50_8c4w4s', 'res2next50_8c4w4s', 'res2next50', 'timm'),
    ('imagenet_r2n50_v1b', 'res2net50_v1b_26w4s', 'res2net50d', 'official'),
    ('imagenet_dla60_r2n', None, 'dla60_res2net', 'trained'),
])
def test_public_weights(config, weights, model, layout, tiny_imagenet, tmp_path, monkeypatch):
    """What tools/test.py loads from an offline folder gives timm's logits."""
    timm = pytest.importorskip('timm')
    theirs = randomise(timm.create_model(model)).eval()
    state = theirs.state_dict()
    checkpoint = dict(official=lambda: state, timm=lambda: state, mmpretrain=lambda: mmpretrains(state),
                      trained=lambda: dict(epoch=3, state_dict={f'module.{k}': v for k, v in state.items()}))[layout]()
    end = '.safetensors' if layout == 'timm' else '.pth'
    if weights:
        path = next(tmp_path / file.name for file in find_weights(weights).files if file.name.endswith(end))
        monkeypatch.setenv('RES2NET_MM_WEIGHTS', str(tmp_path))
        monkeypatch.setattr('res2net_mm.checkpoints.hub.find_problem', lambda *_: '')  # its hash is another
    else:
        path = tmp_path / 'model.pth'
    if end == '.safetensors':
        from safetensors.torch import save_file
        save_file(state, str(path))
    else:
        torch.save(checkpoint, path)

    seen = {}

    def stop_before_the_test(runner):
        for point in ('before_run', 'before_test'):  # where the checkpoint is loaded
            runner.call_hook(point)
        seen.update(runner=runner)

    monkeypatch.setattr(Runner, 'test', stop_before_the_test)
    config = config_path(f'{config}.py')
    run_test([str(config), SCHEME + weights if weights else str(path), *arguments(tiny_imagenet, tmp_path)])
    runner = seen['runner']
    [data] = list(runner.test_loop.dataloader)
    samples = runner.model.eval().test_step(data)
    assert [int(sample.gt_label) for sample in samples] == [3, 997]
    with torch.no_grad():
        inputs = runner.model.data_preprocessor(data)['inputs']
        expected, found = theirs(inputs), runner.model(inputs)
    assert expected.std(0).mean() > 1e-3 and inputs.shape == (2, 3, 64, 64)
    assert relative_error(found, expected) < 1e-4
    assert torch.allclose(torch.stack([sample.pred_score for sample in samples]), expected.softmax(1), atol=1e-4)


def arguments(root, work_dir, *options):
    small = ['test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False',
             'test_dataloader.dataset.pipeline.2.crop_size=64', 'test_dataloader.dataset.pipeline.1.scale=70']
    return ['--data-root', str(root), '--work-dir', str(work_dir / 'run'), '--device', 'cpu', '--cfg-options', *small,
            *options]


R2N50 = str(config_path('imagenet_r2n50_26w4s.py'))


@pytest.mark.slow
def test_checkpoint_that_does_not_fit(tiny_imagenet, tmp_path, capsys):
    """The error names the checkpoint, the config and what differs; nothing is evaluated."""
    timm = pytest.importorskip('timm')
    state = timm.create_model('res2net50_26w_4s').state_dict()
    path = tmp_path / 'other.pth'
    torch.save(state, path)
    fast = arguments(tiny_imagenet, tmp_path)
    other = str(config_path('imagenet_r2n50_14w8s.py'))
    expect_failure(capsys, run_test, [other, str(path), *fast],
                   '(?s)other.pth.*imagenet_r2n50_14w8s.py.*does not fit Res2Net-50 14w8s.*of another shape')
    torch.save({**state, 'fc.weight': state['fc.weight'][:10], 'fc.bias': state['fc.bias'][:10]}, path)
    expect_failure(capsys, run_test, [R2N50, str(path), *fast],
                   '(?s)other.pth.*size mismatch for head.fc.weight')
    torch.save({key: value for key, value in state.items() if not key.startswith('fc.')}, path)
    expect_failure(capsys, run_test, [R2N50, str(path), *fast], '(?s)other.pth.*missing keys.*head.fc.weight')
    expect_failure(capsys, run_test, [R2N50, SCHEME + 'res2net50_18w4s', *fast], 'res2net50_18w4s')


# Bad data.


def test_unreadable_image(tiny_imagenet, tmp_path, capsys):
    """In the set to evaluate on it stops the run before the first iteration, with its name."""
    root = tmp_path / 'imagenet'
    for folder in (tiny_imagenet / 'val').iterdir():
        (root / 'val' / folder.name).mkdir(parents=True)
    (root / 'val' / 'n00000003' / 'image.png').write_bytes(b'\x89PNG, once')
    torch.save({'conv1.weight': torch.zeros(1)}, tmp_path / 'any.pth')
    expect_failure(capsys, run_test, [R2N50, str(tmp_path / 'any.pth'), *arguments(root, tmp_path)],
                   r'n00000003/image.png is cut off or broken')
