"""Hooks: mixed precision, and images that are in a test set, too."""
import copy
import pickle
from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import pytest
import torch
from helpers import SMALL, build, relative_error
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import HOOKS, MODELS, init_default_scope
from torch import nn

from res2net_mm import Res2Net, load_config
from res2net_mm.cli.train import use_mixed_precision
from res2net_mm.engine.hooks.bfloat16_features import compute_as_before, compute_in_bfloat16
from res2net_mm.utils.errors import UserError

# 1. Mixed precision.


def test_amp_in_a_config(monkeypatch):
    pytest.importorskip('mmdet')
    cfg = load_config('res2net_mm::mask_rcnn_r2n50_coco.py')
    monkeypatch.setattr('mmengine.device.get_device', lambda: 'cuda')
    use_mixed_precision(cfg, 'float16')
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.dtype, cfg.optim_wrapper.loss_scale) == (
        'AmpOptimWrapper', 'float16', 'dynamic')

    cfg = load_config('res2net_mm::mask_rcnn_r2n50_coco.py')
    use_mixed_precision(cfg, 'bfloat16')
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    assert [hook.type for hook in cfg.custom_hooks] == ['res2net_mm.StopAtInvalidLoss', 'res2net_mm.BFloat16Features']

    cfg = load_config('res2net_mm::deeplabv3plus_r2n50_voc12aug.py')
    use_mixed_precision(cfg, 'bfloat16')
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.dtype, cfg.optim_wrapper.loss_scale) == (
        'AmpOptimWrapper', 'bfloat16', 1.)

    monkeypatch.undo()
    with pytest.raises(UserError, match='on the CPU only detectors and pose estimators'):
        use_mixed_precision(cfg, 'bfloat16')


@pytest.mark.parametrize('style', ['names', 'classes'])
def test_amp_of_a_detector_of_ones_own(style, config_styles, monkeypatch):
    """A detector is known by its class, whatever the config's style and scope."""
    monkeypatch.setattr('mmengine.device.get_device', lambda: 'cuda')
    cfg = load_config(config_styles[style])
    cfg.custom_hooks = None
    use_mixed_precision(cfg, 'bfloat16')
    assert [hook.type for hook in cfg.custom_hooks] == ['res2net_mm.BFloat16Features']
    cfg.model = dict(type='mmpretrain.ImageClassifier')  # in the same scope
    use_mixed_precision(cfg, 'bfloat16')
    assert len(cfg.custom_hooks) == 1 and cfg.optim_wrapper.type == 'AmpOptimWrapper'


@pytest.mark.parametrize('optim_wrapper', [
    dict(type='ApexOptimWrapper', optimizer=dict(type='SGD', lr=1)),
    dict(constructor='Several', generator=dict(optimizer=dict(type='SGD', lr=1)))])
def test_amp_of_an_optimizer_of_ones_own(optim_wrapper, monkeypatch):
    monkeypatch.setattr('mmengine.device.get_device', lambda: 'cuda')
    cfg = Config(dict(model=dict(type='NoSuchModel'), optim_wrapper=optim_wrapper))
    with pytest.raises(UserError, match='--amp float16: is for one optimizer in an OptimWrapper'):
        use_mixed_precision(cfg, 'float16')
    cfg.optim_wrapper = dict(optimizer=dict(type='SGD', lr=1))
    use_mixed_precision(cfg, 'float16')
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'


def test_features_in_bfloat16():
    model = SimpleNamespace(backbone=Res2Net(depth=26, base_channels=16, norm_eval=True).train())
    runner = SimpleNamespace(model=model)
    hook = HOOKS.build(dict(type='res2net_mm.BFloat16Features'))
    x = torch.randn(2, 3, 64, 64)
    exact = model.backbone(x)
    hook.before_train(runner)
    rounded = model.backbone(x)
    assert all(out.dtype is torch.float32 for out in rounded)
    assert all(0 < relative_error(a, b) < 0.1 for a, b in zip(rounded, exact))

    model.backbone.eval()
    tested = model.backbone(x)
    hook.after_train(runner)
    assert all(torch.equal(a, b) for a, b in zip(tested, model.backbone(x)))
    model.backbone.train()
    assert all(relative_error(a, b) < 1e-5 for a, b in zip(model.backbone(x), exact))


def test_a_detector_trains_in_bfloat16():
    testing = pytest.importorskip('mmdet.testing')
    init_default_scope('mmdet')
    model = MODELS.build(load_config('res2net_mm::demo_faster_rcnn_r2n26_shapes.py').model).train()
    HOOKS.build(dict(type='res2net_mm.BFloat16Features')).before_train(SimpleNamespace(model=model))
    packed = testing.demo_mm_inputs(2, [[3, 64, 64], [3, 64, 96]], num_items=[2, 1], num_classes=4)
    loss, _ = model.parse_losses(model(**model.data_preprocessor(packed, training=True), mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.backbone.parameters())


def test_a_pose_estimator_trains_in_bfloat16():
    """Its head gives heatmaps to NumPy, which has no bfloat16."""
    testing = pytest.importorskip('mmpose.testing')
    from mmengine.optim import build_optim_wrapper
    cfg = load_config('res2net_mm::simplebaseline_r2n50_coco.py')
    use_mixed_precision(cfg, 'bfloat16')
    assert cfg.custom_hooks[-1].type == 'res2net_mm.BFloat16Features'
    assert 'type' not in cfg.optim_wrapper  # no autocast around the head
    cfg.model.backbone.update(depth=26, base_width=4, init_cfg=None)
    init_default_scope('mmpose')
    model = MODELS.build(cfg.model).train()
    HOOKS.build(cfg.custom_hooks[-1]).before_train(SimpleNamespace(model=model))
    optim_wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=1e-3)))
    packed = testing.get_packed_inputs(2, img_shape=(256, 192), with_heatmap=True)
    assert torch.isfinite(model.train_step(packed, optim_wrapper)['loss_kpt'])


def bfloat16_model(**arguments):
    """A model whose backbone trains in bfloat16."""
    model = nn.Module()
    model.backbone = build(SMALL, **arguments)
    HOOKS.build(dict(type='res2net_mm.BFloat16Features')).before_train(SimpleNamespace(model=model))
    return model.backbone


@pytest.mark.parametrize('make_copy', [
    copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module)),
    lambda module: ExponentialMovingAverage(module).module
], ids=['deepcopy', 'pickle', 'EMA'])
@pytest.mark.parametrize('training', [True, False])
def test_a_copy_runs_its_own_weights(make_copy, training):
    module = bfloat16_model()
    other = make_copy(module)
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(2, 3, 32, 32)
    assert all(out.norm() == 0 and out.dtype is torch.float32 for out in other.train(training)(x))
    assert all(out.norm() > 0 for out in module.train(training)(x))
    compute_as_before(other)
    assert type(other) is Res2Net and type(module) is not Res2Net


def test_a_copy_made_before_is_left_alone():
    model = nn.Module()
    model.backbone = build(SMALL)
    before = copy.deepcopy(model)
    HOOKS.build(dict(type='res2net_mm.BFloat16Features')).before_train(SimpleNamespace(model=model))
    assert type(before.backbone) is Res2Net
    before.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert all(map(torch.equal, before.eval().backbone(x), model.eval().backbone(x)))


@pytest.mark.parametrize('way', ['with_cp', pytest.param('compile', marks=pytest.mark.slow)])
def test_bfloat16_with_checkpoints_and_compiled(way):
    """The backward pass computes again what it needs, in bfloat16 too; a compiled module computes as it does else."""
    plain, module = bfloat16_model(), bfloat16_model(with_cp=way == 'with_cp')
    module.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 32, 32)
    for run in (plain, torch.compile(module, backend='eager') if way == 'compile' else module):
        outs = run(x)
        assert all(out.dtype is torch.float32 for out in outs)
        sum(out.sum() for out in outs).backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(plain.parameters(), module.parameters()))


Pair = namedtuple('Pair', 'features index')


class Wrapped(nn.Conv2d):
    """A module that returns features in whatever it is told."""

    def forward(self, x, wrap=lambda features: features):
        return wrap(super().forward(x))


@pytest.mark.parametrize('wrap, unwrap', [
    (lambda x: x, lambda outs: outs),
    (lambda x: [x, (x, )], lambda outs: outs[1][0]),
    (lambda x: Pair(x, torch.tensor(3)), lambda outs: outs.features),
    (lambda x: OrderedDict(a=dict(b=x), name='P3'), lambda outs: outs['a']['b']),
], ids=['tensor', 'list', 'named tuple', 'dict'])
def test_features_of_any_form(wrap, unwrap):
    module = Wrapped(3, 4, 1).train()
    x = torch.randn(2, 3, 8, 8)
    plain = module(x=x, wrap=wrap)
    compute_in_bfloat16(module)
    outs = module(x=x, wrap=wrap)
    assert type(outs) is type(plain)
    assert unwrap(outs).dtype is torch.float32 and not torch.equal(unwrap(outs), unwrap(plain))
    assert relative_error(unwrap(outs), unwrap(plain)) < 0.02
    if isinstance(outs, Pair):
        assert outs.index.dtype is torch.int64
    assert torch.equal(unwrap(module.eval()(x, wrap)), unwrap(plain))


def test_autocast_ends_with_an_error():
    module = Wrapped(3, 4, 1).train()
    compute_in_bfloat16(module)
    with pytest.raises(ZeroDivisionError):
        module(torch.randn(2, 3, 8, 8), wrap=lambda x: 1 / 0)
    assert not torch.is_autocast_enabled('cpu')


def test_begun_and_ended_twice():
    """Of a model in a wrapper, with a neck that has no weights."""
    model = nn.Module()
    model.backbone, model.neck = Wrapped(3, 4, 1), nn.AvgPool2d(2)
    runner = SimpleNamespace(model=nn.DataParallel(model))
    hook = HOOKS.build(dict(type='res2net_mm.BFloat16Features'))
    x = torch.randn(2, 3, 8, 8)
    plain = model.neck(model.backbone(x))
    for _ in range(2):
        hook.before_train(runner)
    rounded = model.neck(model.backbone(x))
    assert 0 < relative_error(rounded, plain) < 0.02 and rounded.dtype is torch.float32
    for _ in range(2):
        hook.after_train(runner)
    assert type(model.backbone) is Wrapped and type(model.neck) is nn.AvgPool2d
    assert torch.equal(model.neck(model.backbone(x)), plain)


def test_nothing_to_compute_in_bfloat16():
    hook = HOOKS.build(dict(type='res2net_mm.BFloat16Features'))
    with pytest.raises(UserError, match='Conv2d has neither a backbone nor a neck'):
        hook.before_train(SimpleNamespace(model=nn.Conv2d(3, 4, 1)))
    module = nn.Conv2d(3, 4, 1)
    module.forward = lambda x: x
    with pytest.raises(ValueError, match='Conv2d cannot be made .* its forward was replaced'):
        compute_in_bfloat16(module)


# 2. Images that are in a test set, too.


class Images(list):
    """A dataset of files."""

    def get_data_info(self, index):
        return self[index]


def refuse_test_images(trained, **cfg):
    runner = SimpleNamespace(train_dataloader=SimpleNamespace(dataset=trained), cfg=Config(cfg),
                             logger=MMLogger.get_instance('images'))
    HOOKS.build(dict(type='res2net_mm.RefuseTestImages')).before_train(runner)


def test_images_of_the_test_set(saliency_sets):
    pytest.importorskip('mmseg')
    data = dict(type='res2net_mm.SaliencyDataset', data_root=str(saliency_sets), sets=('PASCAL-S', 'ECSSD', 'nosuch'))
    trained = [dict(img_path=str(path)) for path in sorted((saliency_sets / 'ECSSD' / 'images').iterdir())]
    for test_data in (data, dict(type='ConcatDataset', datasets=[dict(data, sets=('PASCAL-S', )), data])):
        with pytest.raises(UserError, match='5 images to train on are images of the test set ECSSD'):
            refuse_test_images(Images(trained), test_dataloader=dict(dataset=test_data))
    refuse_test_images(Images(trained), test_dataloader=dict(dataset=dict(data, sets=('PASCAL-S', ))))


@pytest.mark.parametrize('cfg', [
    dict(), dict(test_dataloader=None), dict(test_dataloader=dict(batch_size=1)),
    dict(test_dataloader=dict(dataset=dict(type='BaseDataset', data_root='x'))),
    dict(test_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=[]))),
    dict(test_dataloader=[dict(dataset=dict(type='BaseDataset'))]),
])
def test_other_test_sets_are_not_compared(image, cfg):
    refuse_test_images(Images([dict(img_path=str(image))]), **cfg)


def test_images_without_files_are_not_compared(saliency_sets):
    data = dict(type='res2net_mm.SaliencyDataset', data_root=str(saliency_sets), sets=('ECSSD', ))
    for trained in (Images([dict(img_path='nosuch.jpg'), dict(points=3)]), [torch.zeros(3)]):
        refuse_test_images(trained, test_dataloader=dict(dataset=data))
