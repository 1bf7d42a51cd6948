"""Images prepared by NumPy and OpenCV beside the toolboxes' transforms, and in a graph."""
import mmcv
import numpy as np
import pytest
import torch
from helpers import CONFIGS
from test_export import picture

from res2net_mm.apis.exporting.checks import toolbox_batch
from res2net_mm.apis.exporting.image_graphs import ImageGraph, size_in_graph
from res2net_mm.apis.exporting.loading import build_model, describe_model
from res2net_mm.apis.exporting.preprocess import fix_input_size, fixed_size, read_preprocess
from res2net_mm.apis.preparation import interpolate_axis, prepare_image, resize_image, resized_size
from res2net_mm.utils.config import load_config

SIZES = [(70, 100), (131, 67), (300, 301), (64, 64)]
PIPELINES = {  # a config of every pipeline in the zoo
    'resized by Pillow, cropped': 'classification/imagenet_r2n50_26w4s.py',
    'as it is': 'classification/cifar10_r2nx29_6c24w4s.py',
    'resized by a cubic filter': 'small/digits_r2n26.py',
    'padded to a size': 'deeplabv3plus_r2n50_voc12aug.py',
    'ratio kept': 'segmentation/upernet_r2n50_ade20k.py',
    'ratio kept, padded': 'small/demo_faster_rcnn_r2n26_shapes.py',
    'resized to a size': 'overfit/dss_r2n50.py',
    'patch': 'simplebaseline_r2n50_coco.py',
}


@pytest.fixture(scope='module')
def models():
    """Models by config, whose layers are empty: the preprocessors alone are wanted."""
    built = {}

    def find(name):
        if name not in built:
            cfg = load_config(CONFIGS / PIPELINES[name])
            with torch.device('meta'):
                model = build_model(cfg)
            preprocessor = model.data_preprocessor
            for key, value in dict(preprocessor.named_buffers()).items():
                setting = {**(cfg.get('data_preprocessor') or {}), **(cfg.model.get('data_preprocessor') or {})}[key]
                setattr(preprocessor, key, torch.tensor(setting).view(value.shape))
            built[name] = describe_model(name, cfg, model, {})
        return built[name]

    return find


@pytest.mark.parametrize('name', PIPELINES)
@pytest.mark.parametrize('size', SIZES)
def test_what_the_toolbox_does(name, size, models):
    loaded, image = models(name), np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    ours = prepare_image(image, read_preprocess(loaded.cfg, loaded.model)).array
    theirs = toolbox_batch(loaded, image)['inputs'][0].numpy()
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    assert np.abs(ours - theirs).max() < 1e-5  # a pixel that is one too high is 0.017


@pytest.mark.parametrize('name', [name for name in PIPELINES if name != 'patch'])
@pytest.mark.parametrize('size', SIZES)
def test_in_a_graph(name, size, models):
    loaded, image = models(name), picture(*size)
    steps = read_preprocess(loaded.cfg, loaded.model)
    ours, resized = ImageGraph(torch.nn.Identity(), steps).prepare(torch.from_numpy(image)[None])
    theirs = prepare_image(image, steps)
    assert tuple(map(int, resized)) == theirs.resized
    step = 1 / min(steps['std'])
    assert np.abs(ours[0].numpy() - theirs.array).max() < 1.01 * step  # single pixels are rounded the other way


@pytest.mark.parametrize('library, interpolation', [('cv2', 'bilinear'), ('pillow', 'bicubic'), ('pillow', 'lanczos')])
def test_resizing_is_that_of_mmcv(library, interpolation):
    image = picture(91, 65)
    ours = resize_image(image, (40, 77), dict(library=library, interpolation=interpolation))
    theirs = mmcv.imresize(image, (77, 40), interpolation=interpolation, backend=library)
    np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(ours, resize_image(image, (40, 77), dict(library=library, interpolation='nearest')))


@pytest.mark.parametrize('rule, size', [
    ('keep_ratio', [800, 1333]), ('within', [320, 480]), ('short', 256), ('long', 300), ('height', 99), ('width', 77)])
def test_sizes_by_whole_numbers(rule, size):
    rng = np.random.default_rng(0)
    resize = dict(rule=rule, size=size)
    for height, width in rng.integers(20, 2000, (500, 2)).tolist():
        expected = resized_size(height, width, resize)
        assert tuple(size_in_graph(height, width, resize)) == expected
        traced = size_in_graph(torch.tensor(height), torch.tensor(width), resize)
        assert tuple(map(int, traced)) == expected


@pytest.mark.parametrize('name', PIPELINES)
def test_one_size_for_all_images(name, models):
    loaded = models(name)
    steps = fix_input_size(read_preprocess(loaded.cfg, loaded.model), (96, 128))
    assert fixed_size(steps) == (96, 128)
    for size in SIZES:
        prepared = prepare_image(picture(*size), steps)
        assert prepared.array.shape == (3, 96, 128) and max(prepared.resized) >= 96


def test_points_go_back(models):
    loaded = models('ratio kept, padded')
    steps = read_preprocess(loaded.cfg, loaded.model)
    image = np.zeros((70, 100, 3), np.uint8)
    image[20:40, 50:80] = 255
    prepared = prepare_image(image, steps)
    rows, columns = np.nonzero(prepared.array[0] > 0)
    corners = np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]])
    assert np.abs(corners @ prepared.to_image[:, :2].T + prepared.to_image[:, 2] - [[50, 20], [80, 40]]).max() < 1


def test_maps_grow_from_corner_to_corner():
    maps = np.random.default_rng(0).normal(size=(2, 7, 9)).astype(np.float32)
    ours = interpolate_axis(interpolate_axis(maps, 20, 1), 5, 2)
    theirs = torch.nn.functional.interpolate(torch.from_numpy(maps)[None], size=(20, 5), mode='bilinear',
                                             align_corners=True)[0]
    assert np.allclose(ours, theirs, atol=1e-5)
