"""The hook of ``tools/test.py --accelerate``."""
from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...acceleration.backends import BACKENDS, accelerate
from ...models.layers.arguments import OneOf, checked
from ...registry import HOOKS
from ...utils.errors import UserError


@HOOKS.register_module()
class AccelerateTesting(Hook):
    """Test :func:`res2net_mm.accelerate`'s copy of the model: the same predictions, sooner.

    The copy is made last of all, when the weights that are tested are in the model: hooks that average weights put
    theirs in when the test begins.

    Args:
        backend (str): As for ``res2net_mm.accelerate``. Defaults to 'auto'.

    Raises:
        ValueError: If the backend is not known.
        UserError: If the backend is not installed, or cannot run the model.
    """

    priority = 'LOWEST'

    @checked(dict(backend=OneOf(*BACKENDS)))
    def __init__(self, backend: str = 'auto') -> None:
        self.backend = backend

    def before_test_epoch(self, runner: Runner) -> None:
        """Put the copy in the place of the model."""
        try:
            fast = accelerate(runner.model.module if runner.distributed else runner.model, self.backend)
        except (ValueError, ModuleNotFoundError, RuntimeError) as error:
            raise UserError(f'--accelerate: {error}') from error
        if runner.distributed:
            runner.model.module = fast
        else:
            runner.model = fast
