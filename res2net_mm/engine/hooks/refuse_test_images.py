"""The check that no image to train on is one of the test set."""
from __future__ import annotations

import os

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...datasets.checks.configs import leaves
from ...datasets.checks.errors import BadDataError, refuse_defects
from ...datasets.saliency_folders import find_duplicates, find_pairs
from ...registry import HOOKS


@HOOKS.register_module()
class RefuseTestImages(Hook):
    """Do not train on images of the test set of a ``SaliencyDataset``: lists that hold some are in circulation.

    Files are compared by their content. Test sets that are not there are left out.

    Raises:
        BadDataError: If images to train on are also in the test set; the message names some.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare the images to train on with every test set of the config."""
        trained = [dataset.get_data_info(i)['img_path'] for dataset in leaves(runner.train_dataloader.dataset)
                   for i in range(len(dataset))]
        for dataset in leaves(runner.cfg.test_dataloader.dataset):
            for entry in dataset.sets:
                try:
                    pairs = find_pairs(dataset.data_root, entry)
                except BadDataError as error:
                    runner.logger.info(f'{entry} is not compared with the images to train on: {error}')
                    continue
                tested = [image for image, _ in pairs if image.is_file()]
                duplicates = find_duplicates(list(filter(os.path.isfile, trained)), tested)
                refuse_defects(f'{len(duplicates)} images to train on are images of the test set {entry}:',
                               [f'{image} = {test_image}' for image, test_image in duplicates])
