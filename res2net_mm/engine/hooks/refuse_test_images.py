"""The check that no image to train on is one of the test set."""
from __future__ import annotations

import os
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import DATASETS
from mmengine.runner import Runner

from ...datasets.checks.configs import dataset_configs, leaves
from ...datasets.checks.problems import BadDataError, list_defects, report
from ...datasets.saliency_folders import find_duplicates, find_pairs
from ...models.layers.arguments import checked
from ...registry import HOOKS
from ...utils.config_types import ancestors, config_class


@HOOKS.register_module()
class RefuseTestImages(Hook):
    """Do not train on images of the test set of a ``SaliencyDataset``: lists that hold some are in circulation.

    Files are compared by their content. Test sets that are not there, or of another class, are left out, and the log
    says so.

    Raises:
        BadDataError: If images to train on are also in the test set; the message names some.
    """

    @checked({})
    def __init__(self) -> None:
        super().__init__()

    def before_train(self, runner: Runner) -> None:
        """Compare the images to train on with every test set of the config."""
        trained = [path for dataset in leaves(runner.train_dataloader.dataset) for path in image_files(dataset)]
        if not trained:
            runner.logger.info('no test set is compared with the images to train on: their dataset names no files')
            return
        for dataset in dataset_configs(runner.cfg, 'test'):
            kind = config_class(dataset, DATASETS, runner.cfg.get('default_scope'))
            if 'res2net_mm.SaliencyDataset' not in ancestors(kind):
                runner.logger.info(f'a test set is not compared with the images to train on: it is a {kind.__name__}, '
                                   'not a SaliencyDataset')
                continue
            for entry in dataset['sets']:
                try:
                    pairs = find_pairs(dataset.get('data_root', ''), entry)
                except BadDataError as error:
                    runner.logger.info(f'{entry} is not compared with the images to train on: {error}')
                    continue
                tested = [image for image, _ in pairs if image.is_file()]
                duplicates = find_duplicates(trained, list(map(str, tested)))
                report(list_defects(f'{len(duplicates)} images to train on are images of the test set {entry}:',
                                    [f'{image} = {test_image}' for image, test_image in duplicates]))


def image_files(dataset: Any) -> list[str]:
    """The local image files of a built dataset; none of one that is not mmengine's, or has no ``img_path``."""
    if not hasattr(dataset, 'get_data_info'):
        return []
    paths = [dataset.get_data_info(index).get('img_path') for index in range(len(dataset))]
    return [path for path in paths if isinstance(path, str) and os.path.isfile(path)]
