"""Random constructor calls of every class that is registered: what is promised, or an error that names the argument."""
import inspect
import math
import random
import re

import cv2
import numpy as np
import pytest
import torch

from res2net_mm import registry
from res2net_mm.engine.strategies import FSDPStrategy
from res2net_mm.utils.errors import UserError

REGISTRIES = (registry.MODELS, registry.HOOKS, registry.DATASETS, registry.METRICS, registry.STRATEGIES,
              registry.TRANSFORMS)
NAN, INF = float('nan'), float('inf')
BIG = 10**9

# 1. Arguments. What every call starts from, so that a model is built in milliseconds.
START = {
    'Res2Net': dict(depth=26, base_channels=16), 'CifarRes2NeXt': dict(depth=11, groups=1, base_width=8),
    'BLRes2Net': dict(scales=2), 'DLA': dict(scales=2), 'DSSHead': dict(in_channels=(3, ) * 5),
    'SaliencyDataset': dict(sets=('ECSSD', ), data_root='sets'),
    'SkipBadSample': dict(transform=dict(type='LoadImageFromFile')),
    'LoadWholeCheckpoint': dict(checkpoint='a.pth', config='a.py'),
    'FSDPStrategy': dict(env_kwargs=dict(launcher='pytorch')),
}
ALLOWED = dict(
    arch=['res2net50_26w4s', 'Res2Net-50', 'dla60', 'resnet50', 'Res2Net-v1b-50'], depth=[26, 50, 11, 20],
    scales=[1, 2, 5, None], base_width=[4, 26, 64, None], groups=[1, 2, None], in_channels=[1, 4, (3, ) * 6],
    stem_channels=[8, None], base_channels=[8, 1], num_stages=[1, 3, 4], strides=[(1, 2, 2), [1, 2, 2, 1]],
    dilations=[(1, 1, 2), (1, 1, 1, 2)], out_indices=[(0, ), ('stem', 2), [3, 0], (0, 1, 2), (1, 1)],
    style=['pytorch', 'caffe'], deep_stem=[True, None], avg_down=[True, None], se_reduction=[0, 4, None],
    stage_pool=[None, 'always', 'strided', 'strided_hierarchical'], contract_dilation=[True],
    multi_grid=[None, (1, 2), [2, 1]],
    dcn=[None, dict(type='DCNv2', deform_groups=1), dict(type='DCNv2', groups=3)],
    stage_with_dcn=[(False, True, False, False), (True, True, True)],
    plugins=[(), [dict(cfg=dict(type='ContextBlock', ratio=.25), position='after_conv2', stages=(True, ) * 4)],
             [dict(cfg=dict(type='ContextBlock'), position='after_conv2')]],
    frozen_stages=[-1, 0, 2, 5], conv_cfg=[None, dict(type='ConvAWS')],
    norm_cfg=[dict(type='GN', num_groups=1), dict(type='SyncBN'), dict(type='GN', num_groups=3), dict(type='GN')],
    norm_eval=[True], with_cp=[True], zero_init_residual=[True], alpha=[1, 4, 3], beta=[1, 4], stride=[1, 2],
    dilation=[1, 2], first_block=['stage', 'grouped'], init_cfg=[None, dict(type='Constant', val=1, layer='Conv2d')],
    channels=[(2, ) * 5, (2, ) * 6], kernel_sizes=[(3, ) * 5, (3, ) * 6], averaged=[('fused', 0)],
    reduction=['mean'], threshold=[.5, 1, 0],
    sets=[('ECSSD', 'PASCAL-S'), ['MSRA-B:val.txt'], ('ECSSD', 'nosuch'), ('ECSSD:nosuch.txt', ), (':', ), ('..', )],
    data_root=['sets', 'nosuch'], pipeline=[(), [dict(type='LoadImageFromFile')], [len, dict(type='nosuch')]],
    indices=[None, 1, -1, 0, [0, 1], (-2, ), [99]], test_mode=[True], lazy_init=[True], max_refetch=[0, 10],
    save_dir=[None, 'maps'], by_size=[True], collect_device=['gpu'], collect_dir=[None, 'parts'],
    scale_std=[0, .25], rotate_std=[0, 40, 1e300], rotate_prob=[0, .5, 1],
    transform=[dict(type='LoadImageFromFile', color_type='grayscale'), dict(type='Resize')], strict=[True],
    num_classes=[None, 2], ignore_index=[255, -100], backend=['pytorch', 'onnxruntime', 'nosuch'],
    checkpoint=['b.pth'], config=['b.py'], skip_init_weights=[True], activation_checkpointing=[None, {}],
    work_dir=['work', '/proc/nosuch', ''], experiment_name=[None, 'name'],
    env_kwargs=[None, dict(launcher='none'), dict(launcher='pytorch', randomness=dict(seed=3)), dict(launcher='mpi'),
                dict(launcher='pytorch', mp_cfg=dict(start='fork')), dict(launcher='pytorch', resource_limit=BIG)],
    log_kwargs=[None, dict(log_level='WARNING'), dict(log_level='LOUD'), dict(log_file='/proc/nosuch/log')],
    interval=[1, -1], by_epoch=[False], save_optimizer=[False], save_param_scheduler=[False], out_dir=[None, 'out'],
    max_keep_ckpts=[1, -1], save_last=[False], save_best=[None, 'mIoU', ['acc', 'loss'], 'auto', 'nosuch'],
    rule=[None, 'less', ['greater', 'less']], greater_keys=[None, ['nosuch']], less_keys=[None, ('x', )],
    file_client_args=[None], filename_tmpl=[None, 'e{}.pth', 'x.pth'], backend_args=[None, dict(backend='local')],
    published_keys=[None, 'meta', ['meta', 'state_dict']], save_begin=[0, 3], follow_config=[True],
    auto_scale_lr=[dict(enable=True, base_batch_size=16), dict(base_batch_size=0)])
WRONG = [
    None, True, False, 0, -1, 7, BIG, 10**6, 2**63, -2**70, 10**400, 2.0, -1e-9, NAN, INF, -INF, 1 + 2j, 'x', '', 'BN',
    'x' * 5000, '\0', '\ud800', b'x', (), [], {}, set(), (1, ), [1, 'a'], [[1]], [None], ['x'], (True, ), (0, 0),
    (1.0, ) * 4, (np.int64(1), ) * 4, (BIG, ) * 4, (BIG, ) * 5, (1, 1, 1, BIG), [1] * 2000, range(4), np.int64(2),
    np.float32(2), np.float64(.5), np.float64(NAN), np.bool_(True), np.str_('x'), np.array([1, 2]), np.array(1),
    torch.tensor(1), torch.ones(2), object(), int, len, iter([1]), lambda: 1,
    dict(type='BN'), dict(type='BNN'), dict(type='Conv9'), dict(type='Conv2d'), dict(type=None), dict(type=3),
    dict(type=int), dict(type=[]), dict(type=''), dict(type='BN', epsilon=1), dict(type='BN', num_features=3),
    dict(type='BN', eps='a'), dict(type='GN', num_groups=0), dict(type='GN', num_groups=BIG), {1: 2}, {None: None},
    dict(type='ReLU'), dict(type='Conv2d', bias=True), dict(type='DCNv2'), dict(type='DCNv3'), dict(cfg=None),
    dict(type='Pretrained'), dict(type='Pretrained', checkpoint=3), [dict(type='BN')], dict(x=1), dict(launcher='x'),
    [dict(cfg=dict(type='ContextBlock', ratio=.25))], [dict(position='after_conv1')], [{}],
    [dict(cfg=None, position='after_conv1')], [dict(cfg='x', position='after_conv1')],
    [dict(cfg=dict(type='ContextBlok'), position='after_conv1')],
    [dict(cfg=dict(type='ContextBlock', ratio=.25), position=['after_conv1'])],
    [dict(cfg=dict(type='ContextBlock', ratio=.25), position='after_conv1', stages=3)],
    [dict(cfg=dict(type='ContextBlock', ratio=.25), position='after_conv1', postfix='a.b')],
    [dict(cfg=dict(type='ContextBlock', ratio=.25), position='after_conv1', postfix=None)],
    [dict(cfg=dict(type='ContextBlock', ratio=.25), position='after_conv1')] * 2,
]


def registered_classes():
    """Every class of this package, by name."""
    pytest.importorskip('mmseg')
    for kind in REGISTRIES:
        kind.import_from_location()
    return {name: value for kind in REGISTRIES for name, value in kind.module_dict.items()}


def random_arguments(rng, kind):
    """Arguments of a class, of which a third are wrong, and one in thirty is not known."""
    arguments = dict(START.get(kind.__name__, {}))
    names = list(inspect.signature(kind).parameters)
    for name in rng.sample(names, rng.randint(min(1, len(names)), min(4, len(names)))):
        arguments[name] = rng.choice(WRONG) if rng.random() < .35 else rng.choice(ALLOWED[name])
    if rng.random() < .03 or not names and rng.random() < .5:
        arguments[rng.choice(['unknown', 'Scales', 'type', '_'])] = rng.choice(WRONG)
    return arguments


# 2. What is promised.


def expect_shape(out, *shape):
    assert tuple(out.shape) == shape, f'{tuple(out.shape)} instead of {shape}'


def use_backbone(model, **_):
    height, width = 64, 40
    channels = next(module for module in model.modules() if hasattr(module, 'in_channels')).in_channels
    outs = model(torch.empty(2, channels, height, width))
    indices = model.out_indices
    assert isinstance(outs, tuple) and len(outs) == len(indices)
    for out, channels, stride in zip(outs, model.out_channels, model.out_strides):
        expect_shape(out, 2, channels, math.ceil(height / stride), math.ceil(width / stride))


def use_shared_head(model, stride=2, **_):
    expect_shape(model(torch.empty(2, 1024, 14, 7)), 2, 2048, math.ceil(14 / stride), math.ceil(7 / stride))


def use_dss_head(model, **_):
    convs = [side.conv1.in_channels for side in model.sides]
    features = [torch.empty(2, channels, 2**(len(convs) - i), 2**(len(convs) - i)) for i, channels in enumerate(convs)]
    expect_shape(model(features, (32, 24)), 2, 1, 32, 24)


def use_boxes(transform, **_):
    out = transform(dict(bbox_scale=np.ones((3, 2), np.float32)))
    expect_shape(out['bbox_scale'], 3, 2)
    expect_shape(out['bbox_rotation'], 3)
    assert np.isfinite(out['bbox_scale']).all() and np.isfinite(out['bbox_rotation']).all()


def use_mask(transform, **_):
    out = transform(dict(seg_map_path='mask.png', seg_fields=[]))
    expect_shape(out['gt_seg_map'], 8, 6)


def use_loading(loading, **_):
    channels = () if loading.transform.color_type == 'grayscale' else (3, )
    expect_shape(loading(dict(img_path='image.png'))['img'], 8, 6, *channels)


def use_dataset(dataset, **_):
    dataset.full_init()
    for i in range(len(dataset)):
        assert {'img_path', 'seg_map_path', 'set_name'} <= dataset.get_data_info(i).keys()


def use_metric(metric, **_):
    sample = dict(img_path='image.png', seg_map_path='mask.png', set_name='a',
                  seg_logits=dict(data=torch.rand(1, 8, 6)))
    metric.process(None, [sample])
    assert 0 <= metric.compute_metrics(metric.results)['a/mae'] <= 1


USES = dict(Res2Net=use_backbone, DLA=use_backbone, BLRes2Net=use_backbone, CifarRes2NeXt=use_backbone,
            Res2SharedHead=use_shared_head, DSSHead=use_dss_head, ClippedBBoxTransform=use_boxes,
            LoadSaliencyAnnotations=use_mask, SkipBadSample=use_loading, SaliencyDataset=use_dataset,
            SaliencyMetric=use_metric)


def call(kind, arguments):
    """Build and use: 'built', 'refused', or a problem."""
    name = kind.__name__
    model = issubclass(kind, torch.nn.Module)
    try:
        with torch.device('meta') if model else torch.device('cpu'):
            built = kind(**arguments)
            if model:
                built.eval()
            if not arguments.get('dcn'):  # whose operator exists on real devices only
                USES.get(name, lambda built, **_: None)(built, **arguments)
        return 'built'
    except (ValueError, TypeError, UserError) as error:
        said = str(error)
        names = {*inspect.signature(kind).parameters, *arguments}
        named = any(re.search(rf'\b{argument}\b', said) for argument in names)
        data = isinstance(error, UserError) and name == 'SaliencyDataset'  # whose message names the folder
        if data or named and re.match(rf'({name}|Res2Net): ', said):
            return 'refused'
        return f'{name}({arguments})'[:600] + f': {error!r}'[:600]
    except Exception as error:
        return f'{name}({arguments})'[:600] + f': {error!r}'[:600]


@pytest.fixture
def surroundings(saliency_sets, tmp_path, monkeypatch):
    """A folder with data, and a launcher that starts nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'sets').symlink_to(saliency_sets)
    image = np.zeros((8, 6, 3), np.uint8)
    image[2:5, 1:4] = 255
    cv2.imwrite('image.png', image)
    cv2.imwrite('mask.png', image[..., 0])
    monkeypatch.setattr(FSDPStrategy, '_setup_distributed', lambda self, launcher, **settings: None)


def check_random_calls(seed, count):
    """Calls of every class; how many were built and refused."""
    rng, problems, counts = random.Random(seed), [], {'built': 0, 'refused': 0}
    for kind in registered_classes().values():
        for _ in range(count):
            result = call(kind, random_arguments(rng, kind))
            if result in counts:
                counts[result] += 1
            else:
                problems.append(result)
    print(f'{sum(counts.values()) + len(problems)} calls of {len(registered_classes())} classes: {counts}, '
          f'{len(problems)} others')
    assert not problems, f'{len(problems)}:\n' + '\n'.join(problems[:40])
    assert min(counts.values()) > 0.15 * sum(counts.values())


def test_random_arguments(surroundings):
    check_random_calls(0, 8)


@pytest.mark.soak
@pytest.mark.parametrize('seed', range(1, 9))
def test_many_random_arguments(seed, surroundings):
    check_random_calls(seed, 45)


# 3. Models that are too large are refused before their memory is touched, also on a real device.


@pytest.mark.parametrize('name, arguments, message', [
    ('Res2Net', dict(base_channels=10**6), 'base_channels=1000000 must be smaller, for a model of at most 1073741824'),
    ('Res2Net', dict(base_channels=10**10), 'base_channels=10000000000 must be an integer from 1 to 2147483647'),
    ('Res2Net', dict(in_channels=2**31 - 1), 'in_channels=2147483647 must be smaller'),
    ('Res2Net', dict(scales=10**6), 'scales=1000000 must be an integer from 1 to 256'),
    ('DLA', dict(base_width=10**7), 'base_width=10000000 must be smaller'),
    ('BLRes2Net', dict(base_width=10**7), 'base_width=10000000 must be smaller'),
    ('CifarRes2NeXt', dict(depth=9 * 10**9 + 2), 'depth=9000000002 must be an integer from 11 to 2000'),
    ('CifarRes2NeXt', dict(groups=10**9), 'groups=1000000000 must be smaller'),
    ('DSSHead', dict(in_channels=(3, ) * 5, channels=(8, 8, 8, 8, 10**9)), r'channels=\(8, .* must be smaller'),
    ('DSSHead', dict(in_channels=(3, ) * 5, kernel_sizes=(3, 3, 3, 3, 10**6 + 1)), r'kernel_sizes=.* must be smaller'),
])
def test_models_that_are_too_large(name, arguments, message):
    with pytest.raises(ValueError, match=f'{name}: {message}'):
        registry.MODELS.get(name)(**arguments)
