"""Hooks: mixed precision, and the end of a run whose loss is not a number."""
from types import SimpleNamespace

import pytest
import torch
from helpers import relative_error
from mmengine.registry import HOOKS, MODELS, init_default_scope

from res2net_mm import Res2Net, load_config
from res2net_mm.cli.train import use_mixed_precision
from res2net_mm.utils.errors import UserError


def test_amp_in_a_config(monkeypatch):
    cfg = load_config('res2net_mm::mask_rcnn_r2n50_coco.py')
    monkeypatch.setattr('mmengine.device.get_device', lambda: 'cuda')
    use_mixed_precision(cfg, 'float16')
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.dtype, cfg.optim_wrapper.loss_scale) == (
        'AmpOptimWrapper', 'float16', 'dynamic')

    cfg = load_config('res2net_mm::mask_rcnn_r2n50_coco.py')
    use_mixed_precision(cfg, 'bfloat16')
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    assert [hook.type for hook in cfg.custom_hooks] == ['res2net_mm.StopAtInvalidLoss', 'res2net_mm.BFloat16Features']

    cfg.default_scope = 'mmseg'
    use_mixed_precision(cfg, 'bfloat16')
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.dtype, cfg.optim_wrapper.loss_scale) == (
        'AmpOptimWrapper', 'bfloat16', 1.)

    monkeypatch.undo()
    with pytest.raises(UserError, match='on the CPU only detectors'):
        use_mixed_precision(cfg, 'bfloat16')


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


@pytest.mark.parametrize('loss, iteration', [(float('nan'), 3), (float('inf'), 3), (1., None), (float('nan'), None)])
def test_a_loss_that_is_not_a_number_ends_the_run(loss, iteration):
    from mmengine.logging import MessageHub
    hook = HOOKS.build(dict(type='res2net_mm.StopAtInvalidLoss', interval=4))
    runner = SimpleNamespace(iter=2 if iteration is None else iteration, message_hub=MessageHub('losses'))
    outputs = dict(loss=torch.tensor(loss), loss_cls=torch.tensor(0.5))
    if iteration is None:
        hook.after_train_iter(runner, 0, outputs=outputs)
    else:
        with pytest.raises(FloatingPointError, match=r'iteration 4: loss (nan|inf), loss_cls 0\.5\. Last .*: none'):
            hook.after_train_iter(runner, 0, outputs=outputs)
