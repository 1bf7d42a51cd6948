"""The classes that configs name, in every style."""
import pytest
from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.registry import DATASETS, HOOKS, MODELS
from torch import nn

from res2net_mm import Res2Net
from res2net_mm.utils.config_types import ancestors, config_class


class Smaller(Res2Net):
    """A backbone of a user's own."""


@pytest.mark.parametrize('kind', ['res2net_mm.Res2Net', 'res2net_mm.models.Res2Net',
                                  'res2net_mm.models.backbones.res2net.Res2Net', Res2Net])
def test_every_style(kind):
    assert config_class(dict(type=kind), MODELS, None) is Res2Net
    assert config_class(ConfigDict(type=kind), MODELS, 'mmdet') is Res2Net


def test_scopes():
    pytest.importorskip('mmdet')
    from mmdet.datasets import ConcatDataset as OfDetection
    for scope, inner, kind in (('mmdet', None, OfDetection), (None, 'mmdet', OfDetection),
                               ('mmengine', 'mmdet', OfDetection), ('mmengine', None, ConcatDataset)):
        assert config_class(dict(type='ConcatDataset', _scope_=inner), DATASETS, scope) is kind


@pytest.mark.parametrize('config', [dict(), dict(type='NoSuchHook'), dict(type=None), dict(type=nn.init.zeros_)])
def test_what_is_no_class(config):
    assert config_class(config, HOOKS, None) is object
    assert ancestors(object) == {'builtins.object': object}


def test_what_is_built_already():
    assert config_class(BaseDataset(lazy_init=True), DATASETS, None) is BaseDataset
    assert config_class(None, DATASETS, None) is type(None)


def test_bases_have_their_package():
    bases = ancestors(Smaller)
    assert bases['res2net_mm.Res2Net'] is Res2Net and bases['torch.Module'] is nn.Module
    assert 'Res2Net' not in bases and 'mmdet.Res2Net' not in bases
