"""Model cards: the hub's library reads them, and they say what is known and nothing else."""
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from res2net_mm.analysis import model_card
from res2net_mm.analysis.model_card import CardArguments, named_values, public_weights_card, result_card
from res2net_mm.analysis.training_result import TrainingResult, describe_result
from res2net_mm.checkpoints.publishing import PublishedFile
from res2net_mm.checkpoints.weights import Accuracy
from res2net_mm.models.names import resolve
from res2net_mm.models.pretrained import find_weights
from res2net_mm.models.public_weights import WEIGHTS
from res2net_mm.utils.config import load_config
from res2net_mm.utils.errors import UserError

repocard = pytest.importorskip('huggingface_hub.repocard')
FILE = PublishedFile('a-01234567.safetensors', '0123456789abcdef' * 4, 1234)
DERIVED = TrainingResult(
    task='object-detection', model='FasterRCNN', backbone="dict(type='res2net_mm.Res2Net')",
    tested_on=('CocoDataset, val.json', ), classes=('a', 'b'), metrics=(('coco/bbox_mAP', 0.412), ),
    metrics_source='given by the publisher', initial_weights=('res2net_mm://res2net50_26w4s', 'PATH_TO/other.pth'),
    derived_from=(find_weights('res2net50_26w4s'), ))


@pytest.mark.parametrize('weights', WEIGHTS, ids=lambda weights: weights.name)
def test_public_weights(weights, monkeypatch):
    """Every row has a card with its accuracies, licence, preprocessing and function."""
    monkeypatch.setattr(model_card, 'count', lambda *_: (1, 1))  # which takes a second
    text = public_weights_card(weights, FILE)
    data = repocard.ModelCard(text).data
    assert data.library_name == 'res2net_mm' and data.model_name == weights.name
    values = [result.metric_value for result in data.eval_results or ()]
    assert sorted(values) == sorted(value for one in weights.accuracies for value in one.values)
    for stated in (weights.licence, weights.stage_pool, FILE.sha256, weights.name, str(weights.preprocessing.mean),
                   *(one.protocol for one in weights.accuracies), *(one.source for one in weights.accuracies)):
        assert stated in text
    config = text.partition('type=')[2]
    assert config.startswith(f"'{resolve(weights.architecture).type}'") or weights.config
    assert (data.license == 'cc-by-nc-sa-4.0') == weights.licence.startswith('CC BY-NC-SA 4.0')


@pytest.mark.slow
@pytest.mark.parametrize('name, cost', [
    ('res2net50_26w4s', '25.70 M parameters and takes 4.26 G'), ('dla60_res2next', '17.03 M'),
    ('res2net101_v1b_26w4s', '45.23 M')])
def test_config_of_a_card_builds(name, cost, tmp_path):
    pytest.importorskip('mmdet')
    text = public_weights_card(find_weights(name))
    assert cost in text
    (tmp_path / 'mine.py').write_text(text.split('```python\n')[2].partition('```')[0])
    cfg = load_config(tmp_path / 'mine.py')
    assert cfg.model.backbone.init_cfg.checkpoint == f'res2net_mm://{name}'
    init_default_scope('mmdet')
    model = MODELS.build(cfg.model).eval()
    assert type(model.backbone).__module__.startswith('res2net_mm.')
    with torch.no_grad():
        assert len(model.extract_feat(torch.zeros(1, 3, 64, 64))) == 5


@pytest.mark.parametrize('backbone, function', [
    (dict(), 'always'), (dict(arch='res2net50_vd_26w4s'), 'strided_hierarchical'),
    (dict(arch='res2net50_vd_26w4s', stage_pool='strided'), 'strided')])
def test_a_result_says_what_its_backbone_computes(backbone, function):
    """Also where the config leaves it to the name of the architecture."""
    cfg = Config(dict(model=dict(type='Unknown', backbone=dict(type='res2net_mm.Res2Net', **backbone))))
    result = describe_result({}, {}, Path('a.pth'), cfg, {}, True, True)
    assert f"stage_pool='{function}'" in result.backbone


def test_training_result():
    arguments = CardArguments('mine', 'apache-2.0', datasets=('owner/coco', ), address='https://h/o/m/resolve/main/a')
    text = result_card(DERIVED, FILE, arguments, True)
    data = repocard.ModelCard(text).data
    assert (data.license, data.pipeline_tag, data.datasets) == ('apache-2.0', 'object-detection', ['owner/coco'])
    result, = data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == ('coco/bbox_mAP', 0.412, 'owner/coco')
    assert 'may bind' in text and '`res2net_mm://res2net50_26w4s`: CC BY-NC-SA 4.0, non-commercial' in text
    assert '`PATH_TO/other.pth`: its licence is not known here' in text
    assert 'python tools/test.py config.py https://h/o/m/resolve/main/a' in text


def test_nothing_is_invented():
    """Of a checkpoint alone nearly nothing is known, and the card says so; a recorded metric is no result."""
    text = result_card(TrainingResult(), FILE, CardArguments('mine'), False)
    data = repocard.ModelCard(text).data
    assert data.license is data.pipeline_tag is data.datasets is data.eval_results is None
    assert text.count('not known') >= 8 and 'No licence is stated' in text and 'recorded no validation' in text
    assert 'Whether the training began with other weights is not known' in text
    recorded = replace(DERIVED, metrics=(), recorded=(('coco/bbox_mAP', 0.4), ))
    text = result_card(recorded, FILE, CardArguments('mine'), True)
    assert repocard.ModelCard(text).data.eval_results is None and 'Not known for sure' in text and '0.4' in text
    assert 'names no weights' in result_card(replace(DERIVED, initial_weights=()), FILE, CardArguments('mine'), True)


def test_names_of_values():
    assert named_values(Accuracy('top-1 / top-5 error, %', (22.0, 6.1), '', '')) == [
        ('top-1 error, %', 22.0), ('top-5 error, %', 6.1)]
    assert named_values(Accuracy('box AP', (41.2, ), '', '')) == [('box AP', 41.2)]


def test_other_licence_and_errors(monkeypatch):
    arguments = CardArguments('mine', 'other', 'https://example.org/terms')
    data = repocard.ModelCard(result_card(DERIVED, FILE, arguments, True)).data
    assert (data.license, data.license_name, data.license_link) == ('other', 'mine-licence', arguments.licence_link)
    with pytest.raises(UserError, match='coco/x: a metric must be a finite number'):
        result_card(replace(DERIVED, metrics=(('coco/x', float('nan')), )), FILE, CardArguments('mine'), True)
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(UserError, match='pip install huggingface_hub'):
        result_card(DERIVED, FILE, CardArguments('mine'), True)
