"""DeepLabv3+ on VOC 2012 (paper Table 7): what the configs say, and that a small one trains and predicts."""
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import EXPERIMENTS, config_path, free_port, randomise, relative_error
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.structures import PixelData
from PIL import Image

from res2net_mm import load_config
from res2net_mm.cli.train import main as run_train

structures = pytest.importorskip('mmseg.structures')
datasets = pytest.importorskip('mmseg.datasets')
LEAVES = [path for path in EXPERIMENTS if path.name.startswith('deeplabv3plus_') and 'kvasir' not in path.name]
SMALL = {  # a model for tests, in place of any ResNet's or Res2Net's 50 or 101 layers
    'model.backbone.base_channels': 8,
    'model.backbone.init_cfg': None,
    'model.decode_head.in_channels': 256,
    'model.decode_head.c1_in_channels': 32,
    'model.decode_head.channels': 16,
}
every_config = pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


def seg_batch(sizes, num_classes):
    """What a dataloader of mmseg yields: uint8 images (3, h, w) and labels (1, h, w), for every (h, w) of ``sizes``."""
    samples = []
    for size in sizes:
        labels = torch.randint(num_classes, (1, *size))
        labels[:, 0] = 255  # ignored
        sample = structures.SegDataSample(metainfo=dict(ori_shape=size, img_shape=size))
        sample.gt_sem_seg = PixelData(data=labels)
        samples.append(sample)
    return dict(inputs=[torch.randint(256, (3, *size), dtype=torch.uint8) for size in sizes], data_samples=samples)


def small(path, crop_size):
    cfg = load_config(path)
    size = dict(size=crop_size, test_cfg=dict(size=crop_size))
    cfg.merge_from_dict({**SMALL, 'model.data_preprocessor': size})
    return cfg


@every_config
def test_output_stride(path):
    """8 or 16, and every 3x3 convolution of a stage, the first too, has the dilation that makes up for its stride."""
    cfg = load_config(path)
    with torch.device('meta'):
        backbone = MODELS.build(cfg.model.backbone)
        backbone.eval()  # mmseg's returns None
        sizes = [feature.shape[-1] for feature in backbone(torch.empty(1, 3, 65, 65))]
    dilations = [{module.dilation[0] for module in getattr(backbone, f'layer{i}').modules()
                  if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3)} for i in (1, 2, 3, 4)]
    if '_os8_' in path.name:
        assert sizes == [17, 9, 9, 9] and dilations == [{1}, {1}, {2}, {4}]
    else:
        assert sizes == [17, 9, 5, 5] and dilations == [{1}, {1}, {1}, {2}]


@every_config
def test_recipe(path):
    cfg = load_config(path)
    head, optimizer, (schedule, ) = cfg.model.decode_head, cfg.optim_wrapper.optimizer, cfg.param_scheduler
    assert head.dilations == ((1, 12, 24, 36) if '_os8_' in path.name else (1, 6, 12, 18))
    assert head.num_classes == len(datasets.PascalVOCDataset.METAINFO['classes']) == 21
    assert head.align_corners and head.loss_decode.avg_non_ignore
    assert not {'auxiliary_head', 'pretrained'} & set(cfg.model)
    assert 'SyncBN' not in str(cfg.model) and cfg.sync_bn == 'torch'
    assert (optimizer.type, optimizer.lr, optimizer.momentum) == ('SGD', 0.007, 0.9)
    assert (schedule.type, schedule.power, schedule.eta_min, schedule.end) == ('PolyLR', 0.9, 0, 30000)
    assert cfg.train_cfg.max_iters == 30000 and cfg.auto_scale_lr.base_batch_size == 16


def test_overfitting_is_judged_on_its_own_images():
    cfg = load_config(config_path('deeplabv3plus_r2n50.py'))
    train, *tests = (cfg[f'{split}_dataloader'].dataset for split in ('train', 'val', 'test'))
    for test in tests:
        assert {key for key in test if test[key] != train[key]} == {'pipeline'} and test.keys() == train.keys()
    assert cfg.model.backbone.init_cfg is None and len(train.indices) == cfg.train_dataloader.batch_size
    paper = load_config(config_path('deeplabv3plus_r2n50_voc12aug.py')).model
    assert {key for key in paper if paper[key] != cfg.model[key]} == {'backbone', 'decode_head', 'data_preprocessor'}


@pytest.fixture(scope='module')
def voc(tmp_path_factory):
    """Two images in train.txt, three in aug.txt, two in val.txt; all 75 pixels wide and of odd heights."""
    root = tmp_path_factory.mktemp('voc')
    rng = np.random.default_rng(0)
    for split, folder, count in (('train', '', 2), ('aug', 'Aug', 3), ('val', '', 2)):
        names = [f'{split}{i}' for i in range(count)]
        for i, name in enumerate(names):
            label = np.zeros((51 + 2 * i, 75), np.uint8)
            label[10:40, 20:60] = 15
            label[0] = 255
            image = rng.integers(0, 60, (*label.shape, 3), np.uint8) + (label == 15)[..., None] * np.uint8(150)
            for sub, array, end in (('JPEGImages', image, 'jpg'), (f'SegmentationClass{folder}', label, 'png')):
                (root / sub).mkdir(exist_ok=True)
                Image.fromarray(array).save(root / sub / f'{name}.{end}')
        lists = root / 'ImageSets' / 'Segmentation'
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f'{split}.txt').write_text('\n'.join(names) + '\n')
    return root


@pytest.mark.slow
def test_data(voc):
    """Training on train.txt and aug.txt, padded to the crop with the mean and with 255; test on whole images."""
    cfg = load_config(LEAVES[0])
    for dataset in (*cfg.train_dataloader.dataset.datasets, cfg.test_dataloader.dataset):
        dataset.data_root = str(voc)
    train, test = DATASETS.build(cfg.train_dataloader.dataset), DATASETS.build(cfg.test_dataloader.dataset)
    assert sorted(Path(train.get_data_info(i)['seg_map_path']).parent.name for i in range(len(train))) == [
        'SegmentationClass'] * 2 + ['SegmentationClassAug'] * 3
    widths = {train[i]['inputs'].shape[-1] for i in range(len(train)) for _ in range(4)}
    assert len(widths) > 5 and min(widths) > 240 and max(widths) <= 513  # scaled at random, cut to the crop

    preprocess = MODELS.build(cfg.model.data_preprocessor)
    item = train[0]
    height, width = item['inputs'].shape[1:]
    batch = preprocess(dict(inputs=[item['inputs']], data_samples=[item['data_samples']]), training=True)
    label = batch['data_samples'][0].gt_sem_seg.data
    assert batch['inputs'].shape == (1, 3, 513, 513) and label.shape == (1, 513, 513)
    assert (batch['inputs'][..., height:, :] == 0).all() and (label[..., height:, :] == 255).all()
    assert set(label[..., 1:height, :width].unique().tolist()) <= {0, 15, 255}

    for i, item in enumerate(test[i] for i in range(len(test))):
        assert item['inputs'].shape == (3, 51 + 2 * i, 75) and item['data_samples'].ori_shape == (51 + 2 * i, 75)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['r50', 'r2n50', 'r2n50_v1b', 'os8_r2n50_26w4s'])
def test_learns_and_predicts_at_any_size(name):
    cfg = small(config_path(f'deeplabv3plus_{name}_voc12aug.py'), (65, 65))
    model = MODELS.build(cfg.model).train()
    model.init_weights()
    batch = model.data_preprocessor(seg_batch([(65, 65), (65, 49)], 21), training=True)
    for sample in batch['data_samples']:
        sample.gt_sem_seg.data[sample.gt_sem_seg.data < 255] = 7
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(10):
        loss, _ = model.parse_losses(model(**batch, mode='loss'))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(p.grad is not None for p in model.parameters())
    assert losses[-1] < 0.5 * losses[0]

    for size in ((47, 65), (71, 93)):  # smaller and larger than the crop
        result, = model.eval().test_step(seg_batch([size], 21))
        assert result.pred_sem_seg.shape == size and result.seg_logits.shape == size


def test_padding_of_a_test_image_is_the_mean():
    """An image padded by the data preprocessor is judged like one that had a border of the mean colour."""
    cfg = small(LEAVES[0], (65, 65))
    model = randomise(MODELS.build(cfg.model)).eval()
    inputs = torch.randint(256, (3, 40, 50), dtype=torch.uint8)
    batch = dict(inputs=[inputs], data_samples=seg_batch([(40, 50)], 21)['data_samples'])
    padded = torch.zeros(1, 3, 65, 65)
    padded[..., :40, :50] = (inputs[[2, 1, 0]] - model.data_preprocessor.mean) / model.data_preprocessor.std
    with torch.no_grad():
        expected = model.encode_decode(padded, [dict(img_shape=(65, 65))])[0, :, :40, :50]
        result, = model.test_step(batch)
    assert relative_error(result.seg_logits.data, expected) < 1e-5


def test_v1d_twin_takes_the_weights_of_mmpretrain(tmp_path):
    mmpretrain = pytest.importorskip('mmpretrain.models')
    cfg = load_config(config_path('deeplabv3plus_r50_v1d_voc12aug.py')).model.backbone
    theirs = randomise(mmpretrain.ResNetV1d(
        depth=50, base_channels=8, strides=cfg.strides, dilations=cfg.dilations, out_indices=(0, 1, 2, 3)))
    theirs.eval()
    file = tmp_path / 'resnet50_v1d.pth'
    torch.save({f'backbone.{key}': value for key, value in theirs.state_dict().items()}, file)
    cfg.update(base_channels=8, stem_channels=64, init_cfg=dict(cfg.init_cfg, checkpoint=str(file)))
    ours = MODELS.build(cfg)
    ours.init_weights()
    ours.eval()
    image = torch.rand(1, 3, 65, 65)
    with torch.no_grad():
        for our, their in zip(ours(image), theirs(image)):
            assert relative_error(our, their) < 1e-5


@pytest.mark.slow
def test_sync_bn_is_left_out_on_the_cpu(voc, tmp_path, monkeypatch, capsys):
    """A distributed run of the config, of one process; PyTorch's SyncBatchNorm refuses to train on a CPU."""
    for key, value in dict(RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port()).items():
        monkeypatch.setenv(key, value)
    options = {**SMALL, 'train_cfg.max_iters': 1, 'train_cfg.val_interval': 1,
               'model.data_preprocessor.size': '(65,65)', 'model.data_preprocessor.test_cfg.size': '(65,65)'}
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        options.update({f'{loader}.num_workers': 0, f'{loader}.persistent_workers': False})
    for dataset in (0, 1):
        options[f'train_dataloader.dataset.datasets.{dataset}.pipeline.2.scale'] = '(75,75)'
        options[f'train_dataloader.dataset.datasets.{dataset}.pipeline.3.crop_size'] = '(65,65)'
    try:
        run_train([str(config_path('deeplabv3plus_r2n50_voc12aug.py')), '--launcher', 'pytorch',
                   '--device', 'cpu', '--data-root', str(voc), '--work-dir', str(tmp_path),
                   '--cfg-options', *(f'{key}={value}' for key, value in options.items())])
    finally:
        torch.distributed.destroy_process_group()
    assert capsys.readouterr().out.count('sync_bn is left out') == 1
    assert (tmp_path / 'best_mIoU_iter_1.pth').is_file()
