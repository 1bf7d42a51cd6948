"""The scope ``res2net_mm``.

mmengine imports ``{scope}.registry`` when it meets ``type='{scope}.Name'``, and a registry imports its ``locations``
when it is first asked: so our models build inside any toolbox's config without ``custom_imports``, and no other
package's ``Res2Net`` shadows them.
"""
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import STRATEGIES as MMENGINE_STRATEGIES
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

MODELS = Registry('model', parent=MMENGINE_MODELS, scope='res2net_mm',
                  locations=['res2net_mm.models'])
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope='res2net_mm',
                 locations=['res2net_mm.engine.hooks'])
DATASETS = Registry('dataset', parent=MMENGINE_DATASETS, scope='res2net_mm',
                    locations=['res2net_mm.datasets.saliency'])
METRICS = Registry('metric', parent=MMENGINE_METRICS, scope='res2net_mm',
                   locations=['res2net_mm.evaluation'])
STRATEGIES = Registry('strategy', parent=MMENGINE_STRATEGIES, scope='res2net_mm',
                      locations=['res2net_mm.engine.strategies'])
TRANSFORMS = Registry('transform', parent=MMENGINE_TRANSFORMS, scope='res2net_mm',
                      locations=['res2net_mm.datasets.transforms'])
