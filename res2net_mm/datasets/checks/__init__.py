"""Bad data: found before the run if the score depends on it, skipped with a warning while training.

Three steps, all called by ``tools/train.py``, the first two by ``tools/test.py``:

1. ``check_data`` reads the config and the annotation files, before anything is built.
2. ``check_splits`` looks at what is built, before the first iteration: images, their sizes, masks, and whether the data
   fit the model's heads, the metrics and the batches. The processes of a distributed run share the files.
3. ``skip_bad_samples`` puts ``SkipBadSample`` around the loading transforms of the training pipelines. Good samples
   pass through it unchanged, and it draws no random numbers: a run on good data is the same with and without it. What
   is left of bad images when a model is evaluated meets ``EvaluationPipeline``.

Every check is a function of its own that yields a ``Problem`` for each thing that is wrong. The command line imports
this package before it has chosen a device, so nothing in it imports torch before it is used: mmengine's loggers,
datasets and processes are imported inside of functions.
"""
from . import classification, coco, segmentation, voc  # noqa: F401  each registers its checks
from .built import BuiltModel, BuiltSplit
from .configs import check_data
from .pipelines import skip_bad_samples
from .problems import BadDataError
from .run import check_splits

__all__ = ['BadDataError', 'BuiltModel', 'BuiltSplit', 'check_data', 'check_splits', 'skip_bad_samples']
