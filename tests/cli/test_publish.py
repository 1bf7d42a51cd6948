"""tools/model_converters/publish.py: what is published tests as before, and every way of getting it wrong."""
import json
import shutil

import pytest
import torch
from helpers import CLASSIFIER, DEMO, arguments, expect_failure, write_pictures
from hub_api import hub  # noqa: F401

from res2net_mm import Res2Net
from res2net_mm.checkpoints.files import read_checkpoint, write_checkpoint
from res2net_mm.cli.publish import main as publish
from res2net_mm.cli.test import main as run_test
from res2net_mm.cli.train import main as run_train
from res2net_mm.models.pretrained import read_weights

repocard = pytest.importorskip('huggingface_hub.repocard')
TINY = dict(depth=26, base_channels=8, num_stages=1, strides=(1, ), dilations=(1, ), out_indices=(0, ))
CONFIG = f"model = {dict(TINY, type='res2net_mm.Res2Net')!r}\n"


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint as training writes it, of a backbone alone."""
    checkpoint = dict(
        meta=dict(epoch=2, iter=8, cfg=f"{CONFIG}work_dir = '/home/alice/runs'\n",
                  dataset_meta=dict(classes=('a', 'b')), time='now', seed=1),
        state_dict=Res2Net(**TINY).state_dict(), optimizer=dict(state={}, param_groups=[]), param_schedulers=[],
        message_hub=dict(log_scalars={}, runtime_info=dict(last_ckpt='/home/alice/runs/iter_8.pth'), resumed_keys={}))
    torch.save(checkpoint, tmp_path / 'iter_8.pth')
    return tmp_path / 'iter_8.pth'


def published(folder):
    """The file of weights, the card and all texts of a folder."""
    weights, = (path for path in folder.iterdir() if path.suffix in ('.safetensors', '.pth'))
    card = (folder / 'README.md').read_text()
    return weights, repocard.ModelCard(card).data, card + (folder / 'config.py').read_text()


def test_published(checkpoint, tmp_path, capsys):
    publish([str(checkpoint), str(tmp_path / 'out'), '--license', 'mit', '--metric', 'accuracy=75.5', '--name', 'tiny',
             '--dataset', 'owner/pictures'])
    weights, card, texts = published(tmp_path / 'out')
    assert weights.name in capsys.readouterr().out and weights.name.startswith('tiny-')
    stored = read_checkpoint(weights)
    assert stored['meta'].pop('res2net_mm_version')
    assert stored['meta'] == dict(epoch=2, iter=8, dataset_meta=dict(classes=('a', 'b')))
    assert all(torch.equal(value, stored['state_dict'][key])
               for key, value in read_checkpoint(checkpoint)['state_dict'].items())
    assert (card.license, card.datasets, card.eval_results[0].metric_value) == ('mit', ['owner/pictures'], 75.5)
    assert 'alice' not in texts and b'alice' not in weights.read_bytes()
    model = Res2Net(**TINY, init_cfg=dict(type='Pretrained', checkpoint=str(weights)))
    model.init_weights()
    assert torch.equal(model.conv1.weight, stored['state_dict']['conv1.weight'])


def test_pushed(checkpoint, tmp_path, hub, capsys, monkeypatch):  # noqa: F811
    options = [str(checkpoint), str(tmp_path / 'out'), '--license', 'mit', '--push', 'somebody/tiny', '--private']
    hub.faults['/commit/main'] = 403
    expect_failure(capsys, publish, options, 'the token may not write there.* is complete; the same command pushes')
    weights, _, texts = published(tmp_path / 'out')
    hub.faults.clear()
    publish(options)  # the same command
    address = f'{hub.url}/somebody/tiny/resolve/main/{weights.name}'
    assert f'pushed: {address}' in capsys.readouterr().out and f"load_from = '{address}'" in texts
    assert hub.repositories['somebody/tiny']['files'] == {
        path.name: path.read_bytes() for path in (tmp_path / 'out').iterdir()}
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path / 'cache'))
    assert read_weights(address)['meta']['dataset_meta'] == dict(classes=('a', 'b'))

    monkeypatch.setattr('huggingface_hub.get_token', lambda: None)
    expect_failure(capsys, publish, [options[0], str(tmp_path / 'other'), *options[2:]], '--push: there is no token')
    assert not (tmp_path / 'other').exists()


def test_wrong_arguments(checkpoint, tmp_path, capsys):
    """Each has a message of its own, and writes nothing."""
    mine = tmp_path / 'mine.py'
    mine.write_text(CONFIG.replace("'depth': 26", "'depth': 50"))
    state = read_checkpoint(checkpoint)['state_dict']
    write_checkpoint(dict(state_dict=dict(state, more=torch.ones(1))), tmp_path / 'more.pth')
    write_checkpoint(dict(state_dict=dict(state, bad=torch.tensor([float('nan')]))), tmp_path / 'nan.pth')
    write_checkpoint(dict(meta=dict(cfg='import os'), state_dict=state), tmp_path / 'program.pth')
    write_checkpoint(dict(state_dict={'encoder.weight': torch.ones(1)}), tmp_path / 'encoder.pth')
    before = sorted(path.name for path in tmp_path.iterdir())
    for options, message in [
        (['--push', 'a/b'], '--push: without a licence nobody may use the weights; give --license ID'),
        (['--license', 'Apache 2.0'], "--license Apache 2.0: must be one of the hub's names"),
        (['--license', 'other'], '--license-link: needed for --license other'),
        (['--private'], '--private goes with --push'),
        (['--metric', 'AP'], '--metric AP: must be NAME=VALUE'), (['--metric', 'AP=nan'], 'a finite number'),
        (['--metric', '=3'], '--metric =3: must be'), (['--name', 'a/b'], '--name a/b: only letters'),
        (['--no-ema'], 'no moving average'), (['--config', 'missing.py'], "config 'missing.py' does not exist"),
        (['--config', str(mine)], '(?s)does not fit .*mine.py: .*layer1'),
    ]:
        expect_failure(capsys, publish, [str(checkpoint), str(tmp_path / 'out'), *options], message)
    for name, message in [('missing.pth', 'does not exist'), ('nan.pth', 'not finite: .*bad'),
                          ('program.pth', 'is a program, and is not run'),
                          ('encoder.pth', 'no Res2Net or ResNet is among')]:
        expect_failure(capsys, publish, [str(tmp_path / name), str(tmp_path / 'out')], message)
    (tmp_path / 'tiny.py').write_text(CONFIG)
    expect_failure(capsys, publish, [str(tmp_path / 'more.pth'), str(tmp_path / 'out'), '--config',
                                     str(tmp_path / 'tiny.py')], '(?s)does not fit .*tiny.py.*more')
    expect_failure(capsys, publish, ['res2net_mm://res2net50', str(tmp_path / 'out'), '--metric', 'a=1'],
                   '--metric: not for public weights')
    expect_failure(capsys, publish, ['res2net_mm://resnet7', str(tmp_path / 'out')], 'no public weights of that name')
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, 'tiny.py'])


def test_public_weights(tmp_path, monkeypatch):
    """Of the table's row come the card and the licence; the file is the one that its name says."""
    path = tmp_path / 'weights.pth'
    torch.save(Res2Net(**TINY).state_dict(), path)
    monkeypatch.setattr('res2net_mm.checkpoints.hub.fetch', lambda weights: path)
    monkeypatch.setattr('res2net_mm.analysis.model_card.count', lambda *_: (1, 1))  # which takes seconds
    publish(['res2net_mm://res2net50_26w4s', str(tmp_path / 'out')])
    data = repocard.ModelCard((tmp_path / 'out' / 'README.md').read_text()).data
    assert (data.license, data.model_name) == ('cc-by-nc-sa-4.0', 'res2net50_26w4s')
    assert len(list((tmp_path / 'out').glob('res2net50_26w4s-????????.safetensors'))) == 1


# A number that every weight changes; after a few iterations the AP is not.
SCORES = """
_base_ = {base!r}
model = dict(test_cfg=dict(rcnn=dict(score_thr=0.)))
custom_imports = dict(imports=['sum_of_scores'])
test_evaluator = [dict(type='SumOfScores'), _base_.test_evaluator]
val_evaluator = test_evaluator
custom_hooks = [dict(type='EMAHook', momentum=0.5)]
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = []
"""
METRIC = """
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS


@METRICS.register_module(force=True)
class SumOfScores(BaseMetric):
    default_prefix = 'detections'

    def process(self, data_batch, data_samples):
        self.results += [sample['pred_instances']['scores'].sum().item() for sample in data_samples]

    def compute_metrics(self, results):
        return dict(scores=sum(results))
"""


def reported(config, checkpoint, folder, *options):
    run_test([str(config), str(checkpoint), *options, f'experiment_name={folder.name}'])
    report = json.loads(next(folder.glob('*/*.json')).read_text())
    return {key: value for key, value in report.items() if 'time' not in key}


@pytest.mark.slow
def test_detector(shapes, tmp_path, monkeypatch, capsys):
    """A trained detector tests the same, plain and averaged, from its own config; its backbone starts another one."""
    pytest.importorskip('mmdet')
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / 'sum_of_scores.py').write_text(METRIC)
    config = tmp_path / 'mine.py'
    config.write_text(SCORES.format(base=DEMO))
    run_train([str(config), *arguments(shapes, tmp_path / 'run', 'default_hooks.checkpoint.save_best=coco/bbox_mAP')])
    best, = (tmp_path / 'run').glob('best_*.pth')
    capsys.readouterr()
    publish([str(best), str(tmp_path / 'out')])
    publish([str(best), str(tmp_path / 'student'), '--no-ema', '--format', 'pth'])
    publish([str(best), str(tmp_path / 'backbone'), '--backbone-only'])
    weights, card, texts = published(tmp_path / 'out')
    assert str(tmp_path) not in texts and 'moving average' in texts and card.pipeline_tag == 'object-detection'

    options = arguments(shapes, tmp_path / 'before')
    before = reported(config, best, tmp_path / 'before', *options)
    recorded = {result.metric_type: result.metric_value for result in card.eval_results}
    assert recorded['detections/scores'] == pytest.approx(before['detections/scores'])

    options[options.index('--work-dir') + 1] = str(tmp_path / 'after')
    after = reported(tmp_path / 'out' / 'config.py', weights, tmp_path / 'after', *options)
    assert after == before and after['detections/scores'] > 0
    options[options.index('--work-dir') + 1] = str(tmp_path / 'plain')
    plain = reported(config, published(tmp_path / 'student')[0], tmp_path / 'plain', *options)
    assert plain['detections/scores'] != before['detections/scores']
    assert not published(tmp_path / 'student')[1].eval_results  # the average was validated

    backbone = published(tmp_path / 'backbone')[0]
    model = Res2Net(depth=26, base_channels=8, init_cfg=dict(type='Pretrained', checkpoint=str(backbone)))
    model.init_weights()
    whole = read_checkpoint(best)['state_dict']
    assert all(torch.equal(value, whole[f'backbone.{key}']) for key, value in model.state_dict().items())


@pytest.mark.slow
def test_classifier(tmp_path, monkeypatch):
    """A classifier of mmpretrain has the same accuracy from a safetensors file in another folder."""
    pytest.importorskip('mmpretrain')
    write_pictures(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = CLASSIFIER.partition('custom_imports')[0]
    loader = text.partition('train_dataloader = ')[2].partition('train_cfg')[0].replace('True', 'False').replace(
        'InfiniteSampler', 'DefaultSampler')
    (tmp_path / 'classifier.py').write_text(
        f"{text}\ntest_dataloader = {loader}\ntest_cfg = dict()\ntest_evaluator = dict(type='Accuracy', topk=1)\n")
    run_train(['classifier.py', '--work-dir', 'run', '--cfg-options', 'train_cfg.max_iters=2'])
    publish(['run/iter_2.pth', 'out', '--config', 'classifier.py'])
    weights, card, _ = published(tmp_path / 'out')
    assert weights.name.startswith('classifier-') and card.pipeline_tag == 'image-classification'
    results = []
    for folder, config, checkpoint in (('before', 'classifier.py', 'run/iter_2.pth'),
                                       ('after', 'out/config.py', weights)):
        results.append(reported(config, checkpoint, tmp_path / folder, '--work-dir', folder, '--cfg-options'))
        shutil.rmtree(tmp_path / 'run', ignore_errors=True)
    assert results[0] == results[1] and 'accuracy/top1' in results[0]
