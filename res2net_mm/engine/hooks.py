"""What joins a run: hooks of mmengine's runner."""
import os

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from ..acceleration.training.block import accelerate_training
from ..datasets.checks import BadDataError, leaves, refuse
from ..datasets.saliency_folders import find_duplicates, find_pairs
from ..registry import HOOKS


@HOOKS.register_module()
class StopAtInvalidLoss(Hook):
    """Stop at a loss that is infinite or not a number, instead of training on for hours.

    Args:
        interval (int): Look at every so many iterations. Defaults to 50.

    Raises:
        FloatingPointError: If the loss is not finite; the message has the losses, the iteration, the last checkpoint.
    """

    def __init__(self, interval=50):
        self.interval = interval

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if not self.every_n_train_iters(runner, self.interval) or torch.isfinite(outputs['loss']):
            return
        losses = ', '.join(f'{name} {float(value):.4g}' for name, value in outputs.items() if 'loss' in name)
        saved = runner.message_hub.get_info('last_ckpt') if 'last_ckpt' in runner.message_hub.runtime_info else 'none'
        raise FloatingPointError(
            f'iteration {runner.iter + 1}: {losses}. Last checkpoint: {saved}. Usual causes: frozen layers or batch '
            'norms in eval mode over random weights; a learning rate for a larger batch (--auto-scale-lr); float16.')


@HOOKS.register_module()
class RefuseTestPhotos(Hook):
    """Do not train on photos of the test set of a ``SaliencyDataset``: lists that hold some are in circulation.

    Files are compared by their content. Test sets that are not there are left out.

    Raises:
        BadDataError: If photos to train on are also in the test set; the message names some.
    """

    def before_train(self, runner):
        trained = [dataset.get_data_info(i)['img_path'] for dataset in leaves(runner.train_dataloader.dataset)
                   for i in range(len(dataset))]
        for dataset in leaves(runner.cfg.test_dataloader.dataset):
            for entry in dataset.sets:
                try:
                    pairs = find_pairs(dataset.data_root, entry)
                except BadDataError as error:
                    runner.logger.info(f'{entry} is not compared with the photos to train on: {error}')
                    continue
                tested = [photo for photo, _ in pairs if photo.is_file()]
                same = find_duplicates(list(filter(os.path.isfile, trained)), tested)
                refuse(f'{len(same)} photos to train on are photos of the test set {entry}:',
                       [f'{mine} = {theirs}' for mine, theirs in same])


@HOOKS.register_module()
class AccelerateTraining(Hook):
    """Train through :func:`res2net_mm.accelerate_training`: the same losses, sooner and in less memory."""

    def before_train(self, runner):
        accelerate_training(runner.model.module if is_model_wrapper(runner.model) else runner.model)


@HOOKS.register_module()
class BFloat16Features(Hook):
    """Train with the backbone and the neck in bfloat16, and what follows them in float32.

    Whole-model autocast does not suit detectors: mmdet makes anchors in the type of the features, and bfloat16 has 8
    bits for a coordinate, steps of 4 pixels at 1000; mmcv's RoIAlign and NMS do not know the type at all. Evaluation
    stays in float32.
    """

    def before_train(self, runner):
        for module in self.modules(runner.model):
            compute_in_bfloat16(module)

    def after_train(self, runner):
        for module in self.modules(runner.model):
            del module.forward

    @staticmethod
    def modules(model):
        """Return the backbone, and the neck if there is one, of a model."""
        model = model.module if is_model_wrapper(model) else model
        return [getattr(model, name) for name in ('backbone', 'neck') if getattr(model, name, None) is not None]


def compute_in_bfloat16(module):
    """Have a module compute in bfloat16 under autocast when it is training, and return float32.

    Args:
        module (nn.Module): One that returns a sequence of tensors; its ``forward`` is replaced on the instance.
    """
    forward = module.forward
    device = next(module.parameters()).device.type

    def forward_in_bfloat16(*inputs):
        if not module.training:
            return forward(*inputs)
        with torch.autocast(device, dtype=torch.bfloat16):
            outs = forward(*inputs)
        return tuple(out.float() for out in outs)

    module.forward = forward_in_bfloat16
