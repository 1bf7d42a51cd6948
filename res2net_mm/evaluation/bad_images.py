"""The evaluator of ``tools/test.py --bad-images count-as-wrong``."""
from __future__ import annotations

import logging
from typing import Any, Sequence

import torch
from mmengine.dist import all_gather_object, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement, PixelData

from ..utils.config_types import ancestors
from ..utils.errors import UserError
from ..utils.images import BAD_IMAGE

SHOWN = 5  # images that are named; the others are counted
FAR_AWAY = 1e5  # pixels, from where a keypoint is


class CountBadImages(Evaluator):
    """An evaluator that counts an image that could not be used as wrongly predicted, and names those in the end.

    The samples of such images are marked in their metainfo (``utils.images.BAD_IMAGE``). What was predicted of the
    grey images in their place is replaced, before the metrics see it, by: every class but the right ones (mmpretrain);
    no detection (mmdet); at every pixel a label that no class has, and a map of zeros, in which nothing is salient
    (mmseg); keypoints far away, of score 0 (mmpose).

    Args:
        evaluator (Evaluator): The evaluator that has the metrics.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.metrics = evaluator.metrics
        self.bad_images: list[str] = []  # each as its path and what is wrong with it

    @property
    def dataset_meta(self) -> dict | None:
        """The metainfo of the dataset."""
        return self.evaluator.dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        self.evaluator.dataset_meta = dataset_meta

    def process(self, data_samples: Sequence[BaseDataElement], data_batch: Any = None) -> None:
        """Have the metrics process a batch, once the predictions of bad images are wrong.

        Raises:
            UserError: If it is not known how a prediction of this kind is made wrong.
        """
        for sample in data_samples:
            if isinstance(sample, BaseDataElement) and BAD_IMAGE in sample.metainfo_keys():
                self.bad_images.append(sample.metainfo[BAD_IMAGE])
                make_wrong(sample)
        self.evaluator.process(data_samples, data_batch)

    def evaluate(self, size: int) -> dict:
        """The metrics, of which all processes have to ask; the first one logs the bad images."""
        metrics = self.evaluator.evaluate(size)
        # Two processes may test the same image, so that they have the same number of them.
        bad_images = sorted({image for part in all_gather_object(self.bad_images) for image in part})
        self.bad_images = []
        if bad_images and is_main_process():
            more = [f'... and {len(bad_images) - SHOWN} more'] if len(bad_images) > SHOWN else []
            print_log('\n  '.join([f'{len(bad_images)} bad images count as wrongly predicted:', *bad_images[:SHOWN],
                                   *more]), logger='current', level=logging.WARNING)
        return metrics


def make_wrong(sample: BaseDataElement) -> None:
    """Change the prediction of a sample of any toolbox, in place, into one that is wrong.

    Raises:
        UserError: If it has a prediction of another kind than those that are known.
    """
    kinds = ancestors(type(sample))
    for name, change in CHANGES.items():
        if name in kinds and change(sample):
            return
    raise UserError(f'--bad-images count-as-wrong: not known is what is wrong in a {type(sample).__name__} with '
                    f'{sorted(sample.all_keys())}; remove the bad images')


def miss_classes(sample: Any) -> bool:
    """Predict every class but those that are right; returns whether classes were predicted."""
    if 'pred_score' not in sample or 'gt_label' not in sample:
        return False
    scores = torch.ones_like(sample.pred_score)
    scores[sample.gt_label.to(scores.device)] = 0
    if 'gt_score' not in sample:  # one class: the scores are probabilities
        scores /= scores.sum().clamp(min=1)
    sample.set_pred_score(scores)
    if 'pred_label' in sample:
        sample.set_pred_label(scores.argmax(dim=0, keepdim=True))
    return True


def miss_objects(sample: Any) -> bool:
    """Detect nothing; returns whether objects were detected."""
    if 'pred_instances' not in sample or 'pred_panoptic_seg' in sample:
        return False
    sample.pred_instances = sample.pred_instances[:0]
    return True


def miss_pixels(sample: Any) -> bool:
    """Predict no class anywhere, and a map of zeros; returns whether there was a map."""
    maps = [name for name in ('pred_sem_seg', 'seg_logits') if name in sample]
    for name in maps:
        wrong = torch.full_like(sample.get(name).data, -1 if name == 'pred_sem_seg' else 0)
        setattr(sample, name, PixelData(data=wrong))
    return bool(maps)


def miss_keypoints(sample: Any) -> bool:
    """Put all keypoints far away; returns whether there were any."""
    if 'pred_instances' not in sample or 'keypoints' not in sample.pred_instances:
        return False
    instances = sample.pred_instances.clone()
    instances.keypoints = instances.keypoints + FAR_AWAY
    if 'keypoint_scores' in instances:
        instances.keypoint_scores = 0 * instances.keypoint_scores
    sample.pred_instances = instances
    return True


CHANGES = {'mmpretrain.DataSample': miss_classes, 'mmdet.DetDataSample': miss_objects,
           'mmseg.SegDataSample': miss_pixels, 'mmpose.PoseDataSample': miss_keypoints}
