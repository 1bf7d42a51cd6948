"""Bad data: found before the run if the score depends on it, skipped with a warning while training.

Three steps, all called by ``tools/train.py``, the first two by ``tools/test.py``:

1. ``check_data`` reads the config and the annotation files, before anything is built.
2. ``check_images`` looks at every image and mask of a validation or test set, before the first iteration.
3. ``skip_bad_samples`` puts ``SkipBadSample`` around the loading transforms of the training pipelines. Good samples
   pass through it unchanged, and it draws no random numbers: a run on good data is the same with and without it.

The command line imports this package before it has chosen a device, so nothing in it imports torch before it is used:
mmengine's loggers, datasets and processes are imported inside of functions.
"""
from .configs import check_data, skip_bad_samples
from .errors import BadDataError
from .files import check_images

__all__ = ['BadDataError', 'check_data', 'check_images', 'skip_bad_samples']
