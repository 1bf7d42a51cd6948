"""Runs that stop at the first loss that is not finite, before the weights are touched."""
import os
import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import CLASSIFIER, build, run_in_processes, write_pictures
from mmengine.dist import all_reduce
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import nn

from res2net_mm.engine.diagnosis import alone, image_names
from res2net_mm.engine.hooks.stop_at_invalid_loss import SeenLosses, StopAtInvalidLoss, unwatch
from res2net_mm.engine.nonfinite import last_finite_checkpoint, nonfinite_weights
from res2net_mm.utils.errors import UserError

NAN, INF = float('nan'), float('inf')

# 1. Runs of a small model.


class Spoilt(nn.Module):
    """Returns what it is given, or what is not finite for the images of that name."""

    def forward(self, x, samples):
        for value in (NAN, INF):
            if any(str(value) in sample.metainfo['img_path'] for sample in samples):
                x = x * value
        return x


class Model(BaseModel):
    """Two layers, with a module between them that fails for images of some names."""

    def __init__(self):
        super().__init__()
        self.conv, self.spoilt, self.head = nn.Linear(3, 4), Spoilt(), nn.Linear(4, 2)
        self.register_buffer('mask', torch.tensor([0., -INF]))

    def forward(self, inputs, data_samples, mode):
        assert mode == 'loss'
        out = self.head(self.spoilt(self.conv(torch.stack(inputs)), data_samples))
        if any('root' in sample.metainfo['img_path'] for sample in data_samples):
            out = out - out.detach()  # the square root of 0 has an infinite gradient
            return dict(loss_cls=out.abs().sqrt().sum())
        return dict(loss_cls=out.square().mean(), loss_box=torch.tensor(0.5))


def samples(*names):
    torch.manual_seed(1)
    return [dict(inputs=torch.randn(3), data_samples=BaseDataElement(metainfo=dict(img_path=f'{name}.jpg')))
            for name in names]


def run(folder, names, model=None, hook=None, optim_wrapper=None, hooks=(), save=False):
    """Train a model on one image an iteration; what the run left behind, and the error that ended it."""
    model = model or Model()
    history = [clone(model)]
    record = Hook()
    record.after_train_iter = lambda *_, **__: history.append(clone(model))
    checkpoint = dict(type='CheckpointHook', interval=1, by_epoch=False) if save else None
    runner = Runner(model, str(folder), dict(
        dataset=samples(*names), batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate')), train_cfg=dict(by_epoch=False, max_iters=len(names)),
        optim_wrapper=optim_wrapper or dict(optimizer=dict(type='SGD', lr=0.02)), default_scope='mmengine',
        experiment_name=f'run {time.time()}', log_level='ERROR', default_hooks=dict(checkpoint=checkpoint, logger=None),
        custom_hooks=[hook or StopAtInvalidLoss(), *hooks, record])
    error = None
    try:
        runner.train()
    except UserError as stop:
        error = stop
    return SimpleNamespace(said=str(error), error=error, model=model, history=history, runner=runner)


def clone(model):
    return {name: value.cpu().clone() for name, value in model.state_dict().items()}


def same(model, weights):
    return all(map(torch.equal, clone(model).values(), weights.values()))


@pytest.mark.parametrize('value', ['nan', 'inf'])
@pytest.mark.parametrize('last', [0, 3])
def test_the_first_loss_that_is_not_finite_ends_the_run(value, last, tmp_path):
    """In a run of a few iterations, before the step; the message says all there is to know."""
    names = [*'abcd'[:last], value, 'e', 'f']
    ended = run(tmp_path, names)
    assert isinstance(ended.error, FloatingPointError)
    assert re.match(rf'iteration {last + 1}, learning rate 0\.02, images {value}\.jpg: loss (nan|inf), '
                    r'loss_cls (nan|inf), loss_box 0\.5\. The first module whose output is not finite is spoilt '
                    r'\(Spoilt\); its inputs and its weights are finite\. The step of the optimizer was not '
                    r'taken\. Last checkpoint whose weights are finite: none\.', ended.said), ended.said
    assert len(ended.history) == last + 1 and same(ended.model, ended.history[-1])


def test_a_run_that_goes_well(tmp_path):
    """Is the same, bit by bit, with the hook and without; a buffer that is infinite from the beginning is in order."""
    torch.manual_seed(0)
    plain = run(tmp_path / 'plain', 'abc', hook=Hook())
    torch.manual_seed(0)
    looked_at = run(tmp_path / 'looked_at', 'abc')
    assert plain.error is looked_at.error is None and len(looked_at.history) == 4
    assert all(map(same, [looked_at.model] * 2, (looked_at.history[-1], plain.history[-1])))
    assert not {'backward', 'step'} & vars(looked_at.runner.optim_wrapper).keys()


def test_every_fifth_loss(tmp_path):
    assert run(tmp_path, ['nan' if i % 5 == 3 else 'a' for i in range(20)]).said.startswith('iteration 4,')


def test_an_infinite_gradient(tmp_path):
    """Is found before weights are saved, and in the end; nothing that is not finite is saved or recommended."""
    saved = run(tmp_path / 'saved', ['a', 'b', 'root', 'c'], save=True)
    assert re.match(r'iteration 3, .*images root\.jpg: the loss is finite, but its gradient is not\. After the step '
                    r'these weights are not finite: conv\.weight, .*head\.bias\. Last .*: .*/iter_2\.pth\.', saved.said)
    assert not (tmp_path / 'saved' / 'iter_3.pth').exists()
    ended = run(tmp_path / 'ended', ['a', 'root'])
    assert ended.said.startswith('iteration 2, learning rate 0.02, images root.jpg: the loss is finite')
    later = run(tmp_path / 'later', ['a', 'root', 'b'])
    assert later.said.startswith('iteration 3, ')
    assert re.search(r'Weights that are not finite: conv\.weight.* The first module whose output is not finite is conv '
                     r'\(Linear\); its weights are not finite: conv\.weight', later.said)


def test_the_checkpoint_that_is_recommended(tmp_path):
    """Is the newest that can be read and is finite, whatever mmengine calls the last one."""
    model = Model()
    mask = ['mask']
    assert last_finite_checkpoint(tmp_path.glob('*.pth'), mask) is None
    for age, (name, spoil) in enumerate([('e.pth', None), ('d.pth', 'ema'), ('c.pth', 'state'), ('b.pth', 'cut')]):
        good, bad = clone(model), clone(model)
        bad['conv.bias'][1] = NAN
        averaged = {f'module.{name}': value for name, value in (bad if spoil == 'ema' else good).items()}
        torch.save(dict(state_dict=bad if spoil == 'state' else good, ema_state_dict=averaged), tmp_path / name)
        if spoil == 'cut':
            (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:500])
        os.utime(tmp_path / name, (1e9 + age, 1e9 + age))
    assert last_finite_checkpoint([tmp_path / 'gone.pth', *tmp_path.glob('*.pth')], mask) == str(tmp_path / 'e.pth')
    assert last_finite_checkpoint(tmp_path.glob('*.pth')) is None
    ended = run(tmp_path, ['nan'])
    assert f'Last checkpoint whose weights are finite: {tmp_path}/e.pth.' in ended.said


def test_averaged_weights(tmp_path):
    """mmengine's EMAHook puts its weights into the checkpoint after other hooks have seen it."""
    ended = run(tmp_path, ['a', 'root', 'b'], hooks=[EMAHook()], save=True)
    assert ended.said.startswith('iteration 2, ') and not (tmp_path / 'iter_2.pth').exists()
    assert run(tmp_path / 'good', 'ab', hooks=[EMAHook()], save=True).error is None


def test_weights_that_are_not_finite_before_the_first_iteration(tmp_path):
    model = Model()
    nn.init.constant_(model.head.bias, NAN)
    assert re.match('weights to train that are not finite before the first iteration: head.bias. Look at load_from',
                    run(tmp_path, 'a', model=model).said)


class SkipsInfiniteGradients(OptimWrapper):
    """What a gradient scaler does for float16."""

    def step(self, **arguments):
        if all(torch.isfinite(group.grad).all() for group in self.param_groups[0]['params'] if group.grad is not None):
            super().step(**arguments)


def test_a_step_that_a_gradient_scaler_leaves_out(tmp_path):
    model = Model()
    wrapper = SkipsInfiniteGradients(torch.optim.SGD(model.parameters(), lr=0.02))
    ended = run(tmp_path, ['a', 'root', 'b'], model=model, optim_wrapper=wrapper)
    assert ended.error is None and len(ended.history) == 4 and same(ended.model, ended.history[-1])
    assert not same(ended.model, ended.history[1])


def test_accumulated_gradients(tmp_path):
    """A loss ends the run though no step is due."""
    ended = run(tmp_path, ['a', 'b', 'c', 'nan', 'd'], optim_wrapper=dict(
        optimizer=dict(type='SGD', lr=0.02), accumulative_counts=3))
    assert ended.said.startswith('iteration 4, ') and same(ended.model, ended.history[3])


# 2. Models with a training step of their own.


class Adversaries(Model):
    """Two optimizers, each with a loss of its own, and a loss that nothing is trained on."""

    def train_step(self, data, optim_wrapper):
        first = self(**self.data_preprocessor(data, True), mode='loss')['loss_cls']
        optim_wrapper['conv'].update_params(self.conv.weight.square().sum())
        optim_wrapper['head'].update_params(first)
        return dict(loss_of_head=first, loss_of_a_teacher=torch.tensor(NAN))


def test_several_optimizers(tmp_path):
    """The loss of the second is looked at before its step."""
    model = Adversaries()
    wrapper = OptimWrapperDict(**{name: OptimWrapper(torch.optim.SGD(getattr(model, name).parameters(), lr=lr))
                                  for name, lr in (('conv', 0.02), ('head', 0.5))})
    ended = run(tmp_path, ['a', 'nan', 'b'], model=model, optim_wrapper=wrapper)
    assert re.match(r'iteration 2, learning rate conv\.lr 0\.02, head\.lr 0\.5, images nan\.jpg: loss nan, '
                    r'loss_of_head nan, .*is spoilt \(Spoilt\)', ended.said), ended.said
    assert torch.equal(ended.model.head.weight.cpu(), ended.history[-1]['head.weight'])


class OwnStep(Model):
    """Goes around the optimizer wrapper."""

    def train_step(self, data, optim_wrapper):
        losses = self(**self.data_preprocessor(data, True), mode='loss')
        losses['loss_cls'].backward()
        optim_wrapper.optimizer.step()
        return losses


@pytest.mark.parametrize('late', [False, True])
def test_a_step_around_the_optimizer_wrapper(late, tmp_path, monkeypatch):
    """The losses that the iteration returns are looked at, and those that arrive late from a GPU are not forgotten."""
    monkeypatch.setattr(SeenLosses, 'arrived', lambda self: not late)
    model = OwnStep()
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.02))
    ended = run(tmp_path, ['a', 'nan', 'b'], model=model, optim_wrapper=optimizer)
    assert ended.said.startswith('iteration 2, learning rate 0.02, images nan.jpg: loss_cls nan, loss_box 0.5')
    assert len(ended.history) == (4 if late else 3)
    assert 'was not taken' not in ended.said


@pytest.mark.parametrize('outputs, said', [
    (dict(loss=torch.tensor(NAN), loss_cls=torch.tensor(0.5)), 'loss nan'),
    (dict(loss_g=torch.tensor(1.), loss_d=torch.tensor(NAN)), 'loss_g 1, loss_d nan'),
    (dict(loss=torch.tensor([1., NAN])), 'loss nan'),
    (dict(loss_rpn=[torch.tensor(1.), torch.tensor([[NAN]])], acc='high'), 'loss_rpn nan'),
    (dict(loss=NAN), 'loss nan'),
    (torch.tensor(INF), 'loss inf'),
    (dict(loss=torch.tensor(2.), loss_of_a_teacher=torch.tensor(NAN)), None),  # not part of what is trained on
    (dict(loss_g=torch.tensor([1., 2.]), loss_d=3), None),
    (dict(accuracy=torch.tensor(NAN), loss=None), None),
    (dict(loss_mask=[], loss_box=torch.empty(0)), None),
    ([], None),
    (None, None),
])
def test_losses_of_any_loop(outputs, said, tmp_path):
    hook = HOOKS.build(dict(type='res2net_mm.StopAtInvalidLoss'))
    optimizer = OptimWrapper(torch.optim.SGD(Model().parameters(), lr=0.02))
    runner = SimpleNamespace(iter=4, message_hub=MessageHub('losses'), model=Model(), optim_wrapper=optimizer,
                             work_dir=str(tmp_path))
    hook.before_train(runner)
    hook.before_train_iter(runner, 0, None)
    if said is None:
        hook.after_train_iter(runner, 0, outputs=outputs)
    else:
        message = rf'iteration 5, .*images that the batch does not name: {said}\. The batch cannot be run again: Type'
        with pytest.raises(FloatingPointError, match=message):
            hook.after_train_iter(runner, 0, outputs=outputs)


# 3. What the message says.


def sample(**metainfo):
    return BaseDataElement(metainfo=metainfo)


@pytest.mark.parametrize('batch, names', [
    (dict(inputs=[0], data_samples=[sample(img_path='a.jpg', img_id=3), sample(img_path='b.jpg')]), ['a.jpg', 'b.jpg']),
    (dict(inputs=dict(sup=[0]), data_samples=dict(sup=[sample(img_id=3)], unsup=[sample(img_path=None, sample_idx=7)])),
     ['img_id 3', 'sample_idx 7']),
    ([dict(img_path=['a.jpg', 'b.jpg'])], ['a.jpg', 'b.jpg']),
    (dict(img_metas=[[dict(img_path='a.jpg')], [dict(img_path='a.jpg')]]), ['a.jpg']),
    ((torch.ones(3), torch.ones(2)), []),
    (None, []),
])
def test_images_of_any_batch(batch, names):
    assert image_names(batch) == names


def test_many_images(tmp_path):
    hook = StopAtInvalidLoss()
    runner = SimpleNamespace(optim_wrapper=OptimWrapper(torch.optim.SGD(Model().parameters(), lr=0.02)))
    batch = [sample(img_id=i) for i in range(20)]
    assert hook.place(runner, 0, batch).endswith('img_id 14, img_id 15 and 4 more')


def test_layers_that_average_over_processes_do_not_wait(monkeypatch):
    """While a batch is run again, SyncBN and mmengine's all_reduce take this process for the only one."""
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    value = torch.ones(2)
    with alone():
        all_reduce(value)
        assert torch.equal(value, torch.ones(2))
        nn.SyncBatchNorm(3).train()(torch.randn(2, 3, 4, 4))
    assert torch.distributed.is_initialized()


def test_names_of_weights():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    nn.init.constant_(model[0].bias, 3e38)  # the sum overflows
    assert nonfinite_weights(model) == []
    model[0].weight.data[0], model[1].running_var[2] = INF, NAN
    expected = ['0.weight', '1.running_var']
    assert nonfinite_weights(model) == nonfinite_weights(model.state_dict()) == expected
    assert nonfinite_weights(nn.DataParallel(model), ['0.weight']) == expected[1:]
    bad = {'half': torch.full((9, ), 6e4, dtype=torch.float16), 'bf': torch.tensor([NAN], dtype=torch.bfloat16),
           'pair': torch.tensor([INF, -INF], dtype=torch.float64), 'complex': torch.tensor([complex(0, NAN)]),
           'sparse': torch.tensor([0, INF]).to_sparse(), 'empty': torch.empty(0), 'number': NAN,
           'meta': torch.empty(2, device='meta'), 'optimizer': dict(state={0: [torch.tensor(3), torch.tensor(NAN)]})}
    assert nonfinite_weights(bad) == ['bf', 'pair', 'complex', 'sparse', 'optimizer.state.0.1']


# 4. Cost, processes, a GPU.


class SimpleOptimWrapper:
    """Does nothing."""

    def backward(self, loss):
        pass

    def step(self):
        pass


def seconds_of_the_hook():
    """What it takes in an iteration, of the time of this thread."""
    hook, wrapper = StopAtInvalidLoss(), SimpleOptimWrapper()
    runner = SimpleNamespace(iter=0, optim_wrapper=wrapper)
    loss = torch.ones((), requires_grad=True)
    hook.watch(runner, wrapper)

    def seconds(count):
        start = time.thread_time()
        for _ in range(count):
            hook.before_train_iter(runner, 0, None)
            wrapper.backward(loss)
            wrapper.step()
            hook.after_train_iter(runner, 0, None, {})
        return (time.thread_time() - start) / count

    return min(seconds(200) for _ in range(5))


def test_cost():
    """Less than a ten-thousandth of a second for each iteration: 1 % of a step of 10 ms."""
    assert seconds_of_the_hook() < 1e-4


class Classifier(BaseModel):
    """A backbone and a linear layer."""

    def __init__(self, config):
        super().__init__()
        self.backbone = build(config)
        self.head = nn.Linear(self.backbone.out_channels[-1], 10)

    def forward(self, inputs, labels, mode):
        out = self.head(self.backbone(inputs)[-1].mean((2, 3)))
        return dict(loss=nn.functional.cross_entropy(out, labels))


@pytest.mark.soak
@pytest.mark.parametrize('config, images', [
    (dict(type='res2net_mm.CifarRes2NeXt', depth=11, groups=1, base_width=8), (4, 3, 32, 32)),
    (dict(type='res2net_mm.Res2Net'), (2, 3, 96, 96)),
], ids=['small', 'middle'])
def test_share_of_a_step(config, images):
    """Whole training steps with the hook and without, in turns."""
    torch.set_num_threads(1)
    model, hook = Classifier(config).train(), StopAtInvalidLoss()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-4))
    runner = SimpleNamespace(iter=0, optim_wrapper=wrapper, model=model)
    batch = dict(inputs=torch.randn(images), labels=torch.zeros(images[0], dtype=torch.long))

    def seconds(watched):
        (hook.watch if watched else lambda runner, wrapper: unwatch(wrapper))(runner, wrapper)
        start = time.thread_time()
        if watched:
            hook.before_train_iter(runner, 0, batch)
        outputs = model.train_step(batch, wrapper)
        if watched:
            hook.after_train_iter(runner, 0, batch, outputs)
        return time.thread_time() - start

    seconds(True)
    steps = [(seconds(False), seconds(True)) for _ in range(15)]
    ratio = float(np.median([watched / plain for plain, watched in steps]))
    step, share = np.median(steps), seconds_of_the_hook()
    print(f'a step of {step * 1e3:.1f} ms: with the hook / without = {ratio:.4f}, more or less '
          f'{np.std([watched / plain for plain, watched in steps]):.4f}; the hook alone {share * 1e6:.1f} us, '
          f'{share / step:.2e} of a step')
    assert share < 0.01 * step


SPOIL = """
from torch import distributed, nan
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class Spoil(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 3 and distributed.get_rank() == 1:
            data_batch['inputs'] = [image * nan for image in data_batch['inputs'].float()]
"""


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes(tmp_path):
    """One has a loss that is not finite: both end within seconds, with one message."""
    pytest.importorskip('mmpretrain')
    config = CLASSIFIER.replace("imports=['average_loss']", "imports=['spoil']").replace(
        "[dict(type='AverageLoss')]", "[dict(type='Spoil'), dict(type='res2net_mm.StopAtInvalidLoss')]")
    (tmp_path / 'classifier.py').write_text(config)
    (tmp_path / 'spoil.py').write_text(SPOIL)
    write_pictures(tmp_path)
    start = time.perf_counter()
    ended = run_in_processes(tmp_path, 'classifier.py', 2, '--work-dir', 'work')
    said = ended.stdout + ended.stderr
    assert ended.returncode != 0 and time.perf_counter() - start < 120
    found = re.findall('train.py: error: process 1 of 2, iteration 4, learning rate .*, images .*pictures/.*: lo', said)
    assert len(found) == 1, said
    assert 'The first module whose output is not finite is data_preprocessor' in said
    assert 'Last checkpoint whose weights are finite: ' in said and 'iter_2.pth' in said


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
def test_a_gpu(tmp_path):
    """The weights are not touched there, either, and nothing waits for the device in good iterations."""
    model = Model()
    ended = run(tmp_path, ['a', 'b', 'nan', 'c'], model=model)
    assert next(model.parameters()).is_cuda and same(ended.model, ended.history[-1])
    assert ended.said.startswith('iteration 3, ') and 'is spoilt (Spoilt)' in ended.said
