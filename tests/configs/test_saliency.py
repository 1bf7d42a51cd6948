"""Salient objects (paper Table 9): the DSS head, the sets and their masks, the metric, the recipe."""
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import CONFIGS, ROOT, TOOLS, randomise, relative_error
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, METRICS, MODELS, TRANSFORMS, init_default_scope
from mmengine.structures import PixelData
from PIL import Image
from torch.nn.functional import softplus

from res2net_mm import DSSHead, load_config
from res2net_mm.cli import main as cli
from res2net_mm.datasets import saliency_folders as saliency_data
from res2net_mm.datasets.checks import BadDataError
from res2net_mm.datasets.saliency_folders import find_duplicates, find_pairs, read_mask
from res2net_mm.reproduction import tables as paper

structures = pytest.importorskip('mmseg.structures')
pysodmetrics = pytest.importorskip('py_sod_metrics')
CONFIG = CONFIGS / 'dss_r2n50_msrab.py'
OVERFIT = CONFIGS / 'overfit' / 'dss_r2n50.py'
LEAVES = sorted(CONFIGS.glob('dss_*.py'))
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
SIZES = [(64, 64), (47, 64), (64, 51), (40, 60), (64, 40)]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


def small(path=CONFIG):
    cfg = load_config(path)
    cfg.merge_from_dict(SMALL)
    return cfg


def sample(labels, **metainfo):
    size = tuple(labels.shape[-2:])
    return structures.SegDataSample(gt_sem_seg=PixelData(data=labels.reshape(1, *size)),
                                    metainfo=dict(ori_shape=size, img_shape=size, **metainfo))


# The head.


def constant_head(own, biases, weights, **arguments):
    """A head whose sides' own maps are constants, and whose merges and fusion have known weights."""
    head = DSSHead((3, ) * 5, channels=(2, ) * 5, **arguments)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    for side, value in zip(head.sides, own):
        torch.nn.init.zeros_(side.score.weight)
        torch.nn.init.constant_(side.score.bias, value)
    for side, bias, weight in zip(head.sides, biases, weights):
        torch.nn.init.constant_(side.merge.bias, bias)
        side.merge.weight.data.view(-1)[:] = torch.tensor(weight)
    return head


def features(sizes=(32, 16, 8, 4, 4), batch=2, channels=(3, ) * 5):
    return [torch.randn(batch, c, size, size + 1) for c, size in zip(channels, sizes)]


OWN, BIASES = (1., -2., 3., -0.5, 0.25), (0.1, 0.2, 0.3)
WEIGHTS = ((2., 1., -1., 3., 0.5), (1., 4., -2.), (0.5, -1., 2.))
FUSE = (0.1, 0.2, 0.3, 0.4, 0.5)


def expected_maps():
    """The short connections by hand: raw, raw; combined with both; combined with the two combined and both raw."""
    raw3, raw4 = OWN[3:]
    map1 = WEIGHTS[1][0] * OWN[1] + WEIGHTS[1][1] * raw3 + WEIGHTS[1][2] * raw4 + BIASES[1]
    map2 = WEIGHTS[2][0] * OWN[2] + WEIGHTS[2][1] * raw3 + WEIGHTS[2][2] * raw4 + BIASES[2]
    w = WEIGHTS[0]
    map0 = w[0] * OWN[0] + w[1] * map1 + w[2] * map2 + w[3] * raw3 + w[4] * raw4 + BIASES[0]
    maps = [map0, map1, map2, raw3, raw4]
    return [*maps, sum(weight * value for weight, value in zip(FUSE, maps)) + 0.7]


@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_constant_sides_give_the_expected_maps_and_loss(reduction):
    head = constant_head(OWN, BIASES, WEIGHTS, reduction=reduction)
    head.fuse.weight.data.view(-1)[:] = torch.tensor(FUSE)
    head.fuse.bias.data.fill_(0.7)
    maps = head.side_logits(features(), (63, 65))
    expected = expected_maps()
    assert expected[0] == pytest.approx(-6.375) and expected[2] == pytest.approx(2.8)  # worked out on paper
    for got, value in zip(maps, expected):
        assert got.shape == (2, 1, 63, 65)
        torch.testing.assert_close(got, torch.full_like(got, value), rtol=1e-5, atol=1e-5)

    # Two photos of 63 x 65: one with 100 salient pixels, one with 200 and a border of 63 pixels that do not count.
    labels = torch.zeros(2, 63, 65, dtype=torch.int64)
    labels[0, :10, :10] = 1
    labels[1, :10, :20] = 1
    labels[1, :, -1] = 255
    losses = head.loss(features(), [sample(each) for each in labels])
    assert list(losses) == [*(f'loss_side{i}' for i in range(5)), 'loss_fused']
    pixels = 2 * 63 * 65 - 63
    for loss, value in zip(losses.values(), torch.tensor(expected, dtype=torch.float64)):
        total = 300 * softplus(-value) + (pixels - 300) * softplus(value)
        assert loss.item() == pytest.approx((total / (2 if reduction == 'sum' else pixels)).item(), rel=1e-5)


@pytest.mark.parametrize('averaged', [(0, 1, 2, 'fused'), (1, 2, 3, 'fused'), (4, )])
def test_prediction_is_the_mean_of_the_maps(averaged):
    head = constant_head(OWN, BIASES, WEIGHTS, averaged=averaged)
    maps = head.side_logits(features(), (9, 9))
    wanted = torch.stack([maps[5 if i == 'fused' else i].double().sigmoid() for i in averaged]).mean(0)
    torch.testing.assert_close(head.predict([*features()], [dict(img_shape=(9, 9, 3))]).double().sigmoid(), wanted)


def test_prediction_of_certain_maps_is_finite():
    for value in (200., -200.):
        logit = constant_head((value, ) * 5, (0., ) * 3, WEIGHTS, averaged=(3, 4))(features())
        torch.testing.assert_close(logit, torch.full_like(logit, value))
    mixed = constant_head((0., 0., 0., 200., -200.), (0., ) * 3, WEIGHTS, averaged=(3, 4))(features())
    torch.testing.assert_close(mixed.sigmoid(), torch.full_like(mixed, 0.5))


def test_which_sides_a_map_depends_on():
    head, inputs = randomise(DSSHead((3, ) * 5, channels=(2, ) * 5)), features()
    inputs = [each.requires_grad_() for each in inputs]
    used = []
    for each in head.side_logits(inputs, (32, 32)):
        gradients = torch.autograd.grad(each.square().sum(), inputs, retain_graph=True, allow_unused=True)
        used.append([i for i, gradient in enumerate(gradients) if gradient is not None and gradient.any()])
    assert used == [[0, 1, 2, 3, 4], [1, 3, 4], [2, 3, 4], [3], [4], [0, 1, 2, 3, 4]]


def test_six_sides_as_on_vgg():
    head = DSSHead((3, ) * 6, channels=(2, ) * 6, kernel_sizes=(3, 3, 5, 5, 5, 7))
    assert [side.merge and side.merge.in_channels for side in head.sides] == [5, 5, 3, 3, None, None]
    assert head(features((32, 16, 8, 4, 2, 2), channels=(3, ) * 6)).shape == (2, 1, 32, 33)


def test_initialisation():
    with torch.device('meta'):
        head = DSSHead((64, 256, 512, 1024, 2048))
    shapes = [tuple(side.conv1.weight.shape) for side in head.sides]
    assert shapes == [(128, 64, 3, 3), (256, 256, 5, 5), (256, 512, 5, 5), (512, 1024, 5, 5), (512, 2048, 7, 7)]
    head = DSSHead((16, ) * 5, channels=(16, ) * 5)
    head.init_weights()
    assert torch.equal(head.fuse.weight, torch.full((1, 5, 1, 1), 1 / 5))
    assert not any(p.any() for name, p in head.named_parameters() if name.endswith('bias'))
    assert all(side.conv2.weight.std().item() == pytest.approx(0.01, rel=0.05) for side in head.sides)


@pytest.mark.parametrize('argument, value, allowed', [
    ('in_channels', (3, 3, 3, 3), 'five or more'), ('channels', (2, ) * 4, '5 integers'),
    ('kernel_sizes', (3, 5, 5, 5, 6), 'odd'), ('averaged', (5, ), "from 0 to 4 or 'fused'"),
    ('averaged', ('fuse', ), "'fused'"), ('reduction', 'none', "'sum', 'mean'"), ('threshold', 2, 'from 0 to 1'),
])
def test_bad_argument_of_the_head_is_named(argument, value, allowed):
    with pytest.raises(ValueError, match=f'DSSHead: {argument}') as error:
        DSSHead(**{**dict(in_channels=(3, ) * 5), argument: value})
    assert allowed in str(error.value)


# The segmentor.


def test_gradients_reach_every_side():
    model = MODELS.build(small(OVERFIT).model).train()
    randomise(model)
    inputs = [torch.randint(256, (3, *size), dtype=torch.uint8) for size in ((64, 48), (56, 64))]
    samples = [sample(torch.randint(2, each.shape[1:])) for each in inputs]
    batch = model.data_preprocessor(dict(inputs=inputs, data_samples=samples), training=True)
    assert batch['inputs'].shape == (2, 3, 64, 64)
    loss, _ = model.parse_losses(model(**batch, mode='loss'))
    loss.backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.any(), name


@pytest.mark.parametrize('size', [(64, 64), (75, 53)])
def test_the_result_is_the_map_at_the_size_of_the_photo(size):
    model = randomise(MODELS.build(small().model)).eval()
    photo = torch.randint(256, (3, *size), dtype=torch.uint8)
    with torch.no_grad():
        result, = model.test_step(dict(inputs=[photo], data_samples=[sample(torch.zeros(size))]))
        batch = model.data_preprocessor(dict(inputs=[photo]))['inputs']
        maps = model.decode_head.side_logits(model.extract_feat(batch), size)
    mean = torch.stack([maps[i].sigmoid() for i in (0, 1, 2, 5)]).mean(0)[0]
    torch.testing.assert_close(result.seg_logits.data, mean, rtol=1e-4, atol=1e-5)
    assert torch.equal(result.pred_sem_seg.data, (result.seg_logits.data > 0.5).float())

    resized = sample(torch.zeros(size))
    resized.set_metainfo(dict(ori_shape=(100, 90)))
    result, = model.test_step(dict(inputs=[photo], data_samples=[resized]))
    assert result.seg_logits.shape == (100, 90) and result.seg_logits.data.min() >= 0


class Exported(torch.nn.Module):
    """Normalised photos -> saliency maps of their size."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch):
        return self.model.encode_decode(batch, [dict(img_shape=batch.shape[2:])] * len(batch)).sigmoid()


def test_onnx(tmp_path):
    """For photos of any size. (PyTorch's new exporter, dynamo=True, does as well, and takes a minute.)"""
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    model, path = Exported(randomise(MODELS.build(small().model))).eval(), str(tmp_path / 'dss.onnx')
    torch.onnx.export(model, (torch.randn(1, 3, 64, 96), ), path, dynamo=False, opset_version=17,
                      input_names=['photos'], dynamic_axes={'photos': {2: 'height', 3: 'width'}})
    session = onnxruntime.InferenceSession(path)
    for shape in (64, 96), (75, 53):
        batch = torch.randn(1, 3, *shape)
        output, = session.run(None, {'photos': batch.numpy()})
        with torch.no_grad():
            expected = model(batch)
        assert output.shape == (1, 1, *shape)
        assert np.abs(output - expected.numpy()).max() < 1e-4 and expected.std() > 1e-3


# Sets, photos and masks.


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_photo(photo, mask, seed, size, values=255):
    """A noisy photo with a bright box, and its mask."""
    rng = np.random.default_rng(seed)
    label = np.zeros(size, np.uint8)
    top, left = rng.integers(4, 16, 2)
    label[top:top + 20, left:left + 22] = values
    write(photo, rng.integers(0, 90, (*size, 3), np.uint8) + (label > 0)[..., None] * np.uint8(120))
    write(mask, label)


@pytest.fixture(scope='module')
def sets(tmp_path_factory):
    """Five sets of five photos or fewer, in five layouts."""
    root = tmp_path_factory.mktemp('saliency')
    layouts = {
        'MSRA-B': ('Imgs', 'Imgs', 5), 'ECSSD': ('images', 'ground_truth_mask', 5), 'PASCAL-S': ('Imgs', 'Masks', 2),
        'HKU-IS': ('imgs', 'gt', 3), 'DUTOMRON': ('DUT-OMRON-image', 'pixelwiseGT-new-PNG', 2),
    }
    for i, (name, (photos, masks, count)) in enumerate(layouts.items()):
        for j in range(count):
            suffix = 'png' if name == 'HKU-IS' else 'jpg'
            write_photo(root / name / photos / f'{name[0]}{j}.{suffix}', root / name / masks / f'{name[0]}{j}.png',
                        10 * i + j, SIZES[j])
    (root / 'MSRA-B' / 'train.txt').write_text('M0\nM1.jpg\nM2\n')
    (root / 'MSRA-B' / 'val.txt').write_text('M3\nM4\n')
    return root


@pytest.fixture
def broken(sets, tmp_path):
    """A copy to break."""
    return Path(shutil.copytree(sets, tmp_path / 'sets'))


def test_layouts(sets):
    for name, count in {'MSRA-B': 5, 'ECSSD': 5, 'PASCAL-S': 2, 'HKU-IS': 3, 'DUT-OMRON': 2}.items():
        pairs = find_pairs(sets, name)
        assert len(pairs) == count
        for photo, mask in pairs:
            assert photo.is_file() and mask.is_file() and photo.stem == mask.stem and photo != mask
            assert 0 < read_mask(mask).mean() < 0.5
    assert [photo.stem for photo, _ in find_pairs(sets, 'MSRA-B:train.txt')] == ['M0', 'M1', 'M2']


@pytest.mark.parametrize('entry, message', [
    ('ECSD', r"no set 'ECSD'.*DUTOMRON, ECSSD.*known sets are MSRA-B, ECSSD, PASCAL-S, HKU-IS, DUT-OMRON, DUTS-TR"),
    ('SOD', "no set 'SOD'"),
    ('MSRA-B:test.txt', 'MSRA-B/test.txt does not exist: it lists photos of MSRA-B'),
    ('MSRA-B:leaked.txt', r"line 2: 'ECSSD/images/E0.jpg' has folders in it"),
    ('EMPTY', 'has no photos'),
    ('STRANGE', 'must have photos in Imgs/ and masks in Masks/.*it has pictures'),
])
def test_unknown_set_or_list(entry, message, broken):
    (broken / 'MSRA-B' / 'leaked.txt').write_text('M0\nECSSD/images/E0.jpg\n')
    for folder in ('EMPTY/Imgs', 'EMPTY/Masks', 'STRANGE/pictures'):
        (broken / folder).mkdir(parents=True)
    with pytest.raises(BadDataError, match=message):
        DATASETS.build(dict(type='res2net_mm.SaliencyDataset', sets=(entry, ), data_root=str(broken)))


def test_no_folder_of_sets():
    with pytest.raises(BadDataError, match='nowhere.*does not exist'):
        find_pairs('nowhere', 'ECSSD')
    with pytest.raises(ValueError, match="sets='ECSSD' must be a sequence"):
        DATASETS.build(dict(type='res2net_mm.SaliencyDataset', sets='ECSSD'))


GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
BOX = np.zeros((16, 16), np.uint8)
BOX[4:9, 5:12] = 1


def palette(array):
    picture = Image.fromarray(array, 'P')
    picture.putpalette([0, 0, 0, 255, 255, 255] + 254 * [0, 0, 0])
    return picture


@pytest.mark.parametrize('picture, expected', [
    (Image.fromarray(255 * BOX), BOX), (Image.fromarray(BOX), BOX), (Image.fromarray(0 * BOX), 0 * BOX),
    (Image.fromarray(BOX > 0), BOX), (Image.fromarray(GREY), GREY >= 128),
    (Image.fromarray(np.dstack([255 * BOX] * 3)), BOX), (Image.fromarray(np.dstack([BOX] * 3)), BOX),
    (Image.fromarray(np.dstack([255 * BOX] * 3 + [0 * BOX])), BOX), (palette(BOX), BOX),
], ids=['0 and 255', '0 and 1', 'all zero', '1 bit', 'grey', '3 channels', '3 channels of 0 and 1', 'alpha', 'palette'])
def test_masks(picture, expected, tmp_path):
    picture.save(tmp_path / 'mask.png')
    mask = read_mask(tmp_path / 'mask.png')
    assert mask.dtype == np.uint8 and np.array_equal(mask, expected)
    load = TRANSFORMS.build(dict(type='res2net_mm.LoadSaliencyAnnotations'))
    loaded = load(dict(seg_map_path=str(tmp_path / 'mask.png'), seg_fields=[]))
    assert np.array_equal(loaded['gt_seg_map'], expected) and loaded['seg_fields'] == ['gt_seg_map']


@pytest.mark.parametrize('array, message', [
    (np.dstack([255 * BOX, 255 * BOX, 0 * BOX]), 'in colours'), (90 * BOX, 'brightest pixel is 90'),
    (BOX.astype(np.uint16) * 1000, 'of the kind I;16'),
], ids=['colours', 'dark', '16 bit'])
def test_masks_that_are_none(array, message, tmp_path):
    Image.fromarray(array).save(tmp_path / 'mask.png')
    with pytest.raises(ValueError, match=f'mask.png .*{message}'):
        read_mask(tmp_path / 'mask.png')


def check(root, *arguments):
    """The check tool's exit code."""
    try:
        saliency_data.main([str(root), *arguments])
    except SystemExit as end:
        return end.code
    return 0


def test_check_of_good_sets(sets, capsys):
    assert check(sets) == 0
    said = capsys.readouterr().out
    assert 'MSRA-B: 5 photos' in said and 'HKU-IS: 3 photos' in said and said.endswith('No problems\n')
    assert check(sets, '--train', 'MSRA-B:train.txt', '--test', 'MSRA-B:val.txt') == 0


def test_check_finds_every_defect(broken, capsys):
    ecssd = broken / 'ECSSD'
    (ecssd / 'ground_truth_mask' / 'E0.png').unlink()
    (ecssd / 'images' / 'E1.jpg').unlink()
    write(ecssd / 'ground_truth_mask' / 'E2.png', np.zeros((64, 50), np.uint8))
    write(ecssd / 'ground_truth_mask' / 'E3.png', np.zeros((40, 60, 3), np.uint8) + np.uint8([255, 0, 0]))
    (ecssd / 'images' / 'E4.jpg').write_bytes((ecssd / 'images' / 'E4.jpg').read_bytes()[:500])
    write(broken / 'HKU-IS' / 'gt' / 'H0.png', np.pad(GREY, 24))
    write_photo(broken / 'HKU-IS' / 'imgs' / 'H1.png', broken / 'HKU-IS' / 'gt' / 'H1.png', 1, SIZES[1], values=1)
    photo = Image.open(broken / 'MSRA-B' / 'Imgs' / 'M0.jpg')
    photo.save(broken / 'PASCAL-S' / 'Imgs' / 'P1.png')  # the same pixels in another file
    (broken / 'PASCAL-S' / 'Imgs' / 'P1.jpg').unlink()
    write(broken / 'PASCAL-S' / 'Masks' / 'P1.png', np.zeros(SIZES[0], np.uint8))
    assert check(broken) == 1
    said = capsys.readouterr().out
    for text in ('1 photos without a mask: E0.jpg', '1 masks without a photo: E1.png',
                 '1 masks of another size: E2.png is a mask of 64 x 50 pixels for a photo of 64 x 51',
                 '1 masks that cannot be used: E3.png is a mask in colours',
                 '1 photos that cannot be read: E4.jpg is cut off or broken',
                 'note: 1 masks with grey pixels, salient from 128 on: H0.png', 'note: 1 masks of 0 and 1',
                 'note: 1 masks without anything salient: P1.png',
                 'PROBLEM: 1 photos of MSRA-B are also in PASCAL-S: M0.jpg = P1.png'):
        assert text in said, said
    assert check(broken, '--train', 'NONE') == 1 and "no set 'NONE'" in capsys.readouterr().err
    assert check(broken / 'ECSSD') == 1


def test_duplicates(broken):
    photos = [photo for photo, _ in find_pairs(broken, 'MSRA-B')]
    copy = Path(shutil.copy(photos[3], broken / 'copy.jpg'))
    others = [photo for photo, _ in find_pairs(broken, 'ECSSD')] + [copy]
    assert find_duplicates(photos, others) == find_duplicates(photos, others, decoded=True) == [(photos[3], copy)]


@pytest.mark.skipif(not SOD, reason='RES2NET_MM_SOD names no folder of saliency sets')
def test_real_sets(capsys):
    assert check(SOD) == 0, capsys.readouterr().out


# Training and testing through the tools.


def options(**more):
    return ['--device', 'cpu', '--cfg-options',
            *(f'{key}={str(value).replace(" ", "")}' for key, value in {**FAST, **more}.items())]


def fails(command, *arguments):
    with pytest.raises(SystemExit) as end:
        command([str(argument) for argument in arguments])
    return str(end.value.code)


@pytest.fixture(scope='module')
def trained(sets, tmp_path_factory):
    """A work directory after two iterations of the recipe."""
    work_dir = tmp_path_factory.mktemp('run')
    cli.train([str(CONFIG), '--data-root', str(sets), '--work-dir', str(work_dir), *options()])
    return work_dir


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
def weights(sets, trained):
    """A checkpoint with weights of a size that makes maps vary."""
    torch.manual_seed(0)
    init_default_scope('mmseg')
    model = randomise(MODELS.build(small().model))
    torch.nn.init.normal_(model.decode_head.fuse.weight)
    torch.save(model.state_dict(), trained / 'random.pth')
    return trained / 'random.pth'


def test_metric_equals_pysodmetrics_in_one_process_and_in_two(sets, weights, tmp_path, capsys):
    """All four sets of the recipe in one run: 5 + 2 + 3 + 2 photos, and with two processes one of three twice."""
    common = ['--data-root', str(sets), '--work-dir', str(tmp_path / 'work')]
    logs = {}
    cli.test([str(CONFIG), str(weights), *common,
              *options(**{'test_evaluator.save_dir': tmp_path / 'one'})])
    said = capsys.readouterr().out
    logs['one'] = json.loads(next((tmp_path / 'work').glob('*/*.json')).read_text())
    for number in ('0.910', '0.926', '0.823', '0.105', '0.905', '0.071'):  # the paper's, beside the measured
        assert number in said
    assert f'{logs["one"]["dut_omron/mae"]:.3f}' in said

    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    env = {**os.environ, 'PORT': str(port), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT),
           'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'}
    hku = [str(CONFIG), str(weights), '2', '--setting', 'hku_is']
    result = subprocess.run([TOOLS / 'dist_test.sh', *hku, '--data-root', sets, '--work-dir', tmp_path / 'two',
                             *options()], env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    logs['two'] = json.loads(next((tmp_path / 'two').glob('*/*.json')).read_text())
    assert {key.partition('/')[0] for key in logs['two'] if '/' in key} == {'hku_is'}

    for name in ('ECSSD', 'PASCAL-S', 'HKU-IS', 'DUT-OMRON'):
        key, pairs = saliency_data.set_name(name), find_pairs(sets, name)
        maps = [tmp_path / 'one' / key / f'{photo.stem}.png' for photo, _ in pairs]
        assert [cv2.imread(str(saved), cv2.IMREAD_UNCHANGED).shape for saved in maps] == SIZES[:len(pairs)]
        expected = direct([mask for _, mask in pairs], maps)
        for log in logs.values() if name == 'HKU-IS' else [logs['one']]:
            assert {metric: log[f'{key}/{metric}'] for metric in expected} == pytest.approx(expected, abs=1e-6)
    assert logs['one']['ecssd/mae'] != logs['one']['hku_is/mae']


def test_metric_and_masks_of_other_kinds(tmp_path):
    """0/1 masks and masks with three channels count like 0/255 ones; a photo with nothing salient has an F of 0."""
    metric = METRICS.build(dict(type='res2net_mm.SaliencyMetric', save_dir=str(tmp_path / 'maps')))
    saliency = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    pictures = dict(plain=255 * BOX, one=BOX, channels=np.dstack([255 * BOX] * 3), nothing=0 * BOX)
    for name, picture in pictures.items():
        write(tmp_path / f'{name}.png', picture)
        metric.process(None, [dict(seg_logits=dict(data=saliency), seg_map_path=str(tmp_path / f'{name}.png'),
                                   img_path=f'{name}.jpg', set_name=name)])
    log = metric.evaluate(len(pictures))
    for key in ('f_measure', 'f_of_mean', 'mae', 's_measure', 'e_measure', 'weighted_f'):
        assert log[f'one/{key}'] == log[f'channels/{key}'] == log[f'plain/{key}'] > 0
    assert log['nothing/f_measure'] == log['nothing/f_of_mean'] == log['nothing/weighted_f'] == 0
    saved = cv2.imread(str(tmp_path / 'maps' / 'one' / 'one.png'), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(saved, np.rint(255 * saliency[0].numpy()))

    write(tmp_path / 'wide.png', np.zeros((16, 17), np.uint8))
    write(tmp_path / 'wide.jpg', np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match='wide.png is a mask of 16 x 17 pixels for a photo of 16 x 16'):
        metric.process(None, [dict(seg_logits=dict(data=saliency), seg_map_path=str(tmp_path / 'wide.png'),
                                   img_path=str(tmp_path / 'wide.jpg'), set_name='ecssd')])
    with pytest.raises(ValueError, match='no set_name'):
        metric.process(None, [dict(seg_logits=dict(data=saliency), seg_map_path='')])
    with pytest.raises(ValueError, match="table='table99' must be one of table1, "):
        METRICS.build(dict(type='res2net_mm.SaliencyMetric', table='table99'))


def test_bad_test_data_is_refused(broken, weights, tmp_path):
    masks = broken / 'ECSSD' / 'ground_truth_mask'
    (masks / 'E0.png').unlink()
    write(masks / 'E1.png', np.zeros((47, 63), np.uint8))
    write(masks / 'E2.png', np.zeros((64, 51, 3), np.uint8) + np.uint8([255, 0, 0]))
    test = [cli.test, CONFIG, weights, '--work-dir', tmp_path, '--data-root', broken]
    said = fails(*test, '--setting', 'ecssd', *options())
    assert '3 photos or masks to evaluate on are bad' in said and 'E0.png does not exist' in said
    assert 'E1.png is a mask of 47 x 63 pixels for a photo of 47 x 64' in said and 'E2.png is a mask in colours' in said
    said = fails(*test, *options(**{'test_dataloader.dataset.sets': '[ECSSDD]'}))
    assert "no set 'ECSSDD'" in said and 'known sets are MSRA-B, ECSSD' in said
    assert 'only ecssd, pascal_s, hku_is, dut_omron' in fails(*test, '--setting', 'duts', *options())


def test_bad_training_data_is_skipped(broken, tmp_path, capsys):
    (broken / 'MSRA-B' / 'Imgs' / 'M0.png').unlink()
    write(broken / 'MSRA-B' / 'Imgs' / 'M1.png', np.zeros((9, 9), np.uint8))
    run = [str(CONFIG), '--data-root', str(broken), '--work-dir', str(tmp_path)]
    # Of two runs of one name in one second, the second would log to where the first did.
    cli.train([*run, *options(**{'train_cfg.max_iters': 8, 'train_cfg.val_interval': 8, 'experiment_name': 'skipped'})])
    said = capsys.readouterr()
    said = said.out + said.err
    assert said.count('M0.png does not exist') == 1 and said.count('is a mask of 9 x 9 pixels for a photo of 47') == 1
    assert 'bad training sample' in fails(cli.train, *run, '--strict-data', *options(**{'train_cfg.max_iters': 8}))


def test_training_on_test_photos_is_refused(broken, tmp_path):
    copies = broken / 'MSRA-B' / 'Imgs'
    shutil.copy(broken / 'ECSSD' / 'images' / 'E0.jpg', copies / 'M9.jpg')
    shutil.copy(broken / 'ECSSD' / 'ground_truth_mask' / 'E0.png', copies / 'M9.png')
    shutil.rmtree(broken / 'HKU-IS')  # a set that is not there
    run = [cli.train, CONFIG, '--data-root', broken, '--work-dir', tmp_path, *options()]
    (broken / 'MSRA-B' / 'train.txt').write_text('M0\nM9\n')
    said = fails(*run)
    assert '1 photos to train on are photos of the test set ECSSD' in said and 'M9.jpg = ' in said


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
    assert list(cfg.test_settings) == list(paper.read_tables()['table9']['settings']) == [
        saliency_data.set_name(name) for name in cfg.test_dataloader.dataset.sets]
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


def test_overfitting_is_judged_on_its_own_photos():
    cfg = load_config(OVERFIT)
    train, *tests = (cfg[f'{split}_dataloader'].dataset for split in ('train', 'val', 'test'))
    for test in tests:
        assert {key for key in test if test[key] != train.get(key)} == {'pipeline', 'test_mode'}
    assert cfg.model.backbone.init_cfg is None and len(train.indices) == cfg.train_dataloader.batch_size


def test_the_twin_takes_torchvisions_weights():
    """So the two stand on equal weights: our ResNet with its stem feature computes what torchvision's does."""
    torchvision = pytest.importorskip('torchvision')
    theirs = randomise(torchvision.models.resnet50(replace_stride_with_dilation=[False, False, True])).eval()
    cfg = load_config(CONFIGS / 'dss_r50_msrab.py').model.backbone
    cfg.init_cfg = None
    ours = MODELS.build(cfg).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        stem = theirs.relu(theirs.bn1(theirs.conv1(x)))
        outs = ours(x)
        third = theirs.layer3(theirs.layer2(theirs.layer1(theirs.maxpool(stem))))
    assert relative_error(outs[0], stem) < 1e-5 and relative_error(outs[3], third) < 1e-5


def test_without_mmseg():
    """The head and all backbones register where mmseg is not installed."""
    code = ("import sys; sys.modules['mmseg'] = None\n"
            "from res2net_mm.registry import HOOKS, MODELS, TRANSFORMS\n"
            "assert MODELS.get('DSSHead') and MODELS.get('Res2Net') and HOOKS.get('RefuseTestPhotos')\n"
            "assert TRANSFORMS.get('LoadSaliencyAnnotations')")
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)
