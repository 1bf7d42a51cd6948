"""The scores of saliency maps, by the package pysodmetrics."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric

from ..models.layers.arguments import Flag, OneOf, OrNone, Text, checked
from ..models.layers.refusal import refuse
from ..registry import METRICS
from ..utils.images import image_shape, write_image
from ..utils.masks import read_mask, size_defect

RULES = dict(save_dir=OrNone(Text(file=True)), by_size=Flag(), collect_device=OneOf('cpu', 'gpu'),
             collect_dir=OrNone(Text(file=True)))


@METRICS.register_module()
class SaliencyMetric(BaseMetric):
    """Saliency maps against masks, at the size of the images, by the package pysodmetrics (paper section 4.9).

    Every map is rounded to 8 bits, as it is when it is saved, and compared with the mask on disk. pysodmetrics
    stretches each map to the range 0 to 1 before it compares. Results, for every set by itself:

    * ``SET/f_measure``: the greatest F, of 256 thresholds, with β² = 0.3; F is the mean over images, per threshold;
    * ``SET/f_of_mean``: the same, but F of the mean precision and the mean recall, as the code of DSS has it;
    * ``SET/mae``: the mean absolute error;
    * ``SET/s_measure``: the structure measure;
    * ``SET/e_measure``: the enhanced alignment measure, the greatest of 256 thresholds;
    * ``SET/weighted_f``: the weighted F of Margolin et al., β² = 1;
    * ``SET/mean_dice``, ``SET/mean_iou``: Dice and IoU, of which papers on polyps have the mean over 256 thresholds and
      all images, as the code of PraNet computes it.

    An image in which nothing is salient has an F of 0, like every other.

    Args:
        save_dir (str | None): Folder for the maps, as ``SET/NAME.png``, grey, at the size of the image. Defaults to
            None, they are not saved.
        by_size (bool): Whether there are also the results ``SET_small/...``, ``SET_medium/...`` and ``SET_large/...``:
            of each third of the set's images, by the share of their pixels that is salient. Defaults to False.
        collect_device (str): As in mmengine's BaseMetric. Defaults to 'cpu'.
        collect_dir (str | None): As in mmengine's BaseMetric. Defaults to None.

    Raises:
        ValueError: If an argument is not allowed, a mask is bad, or a map has another size than its mask.
        ModuleNotFoundError: If pysodmetrics is not installed.
    """

    @checked(RULES)
    def __init__(self, save_dir: str | None = None, by_size: bool = False, collect_device: str = 'cpu',
                 collect_dir: str | None = None) -> None:
        if collect_dir is not None and collect_device != 'cpu':
            refuse('collect_dir', collect_dir, "None unless collect_device='cpu'")
        super().__init__(collect_device, collect_dir=collect_dir)
        try:
            import py_sod_metrics  # noqa: F401
        except ImportError as error:
            raise ModuleNotFoundError(
                "SaliencyMetric needs pysodmetrics: pip install 'res2net_mm[saliency]'") from error
        self.save_dir, self.by_size = save_dir, by_size

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Score the maps of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): With ``seg_logits``, the map, (1, h, w) from 0 to 1, and of the dataset
                ``img_path``, ``seg_map_path`` and ``set_name``.

        Raises:
            OSError: If a map cannot be saved.
        """
        for sample in data_samples:
            if not {'set_name', 'seg_map_path'} <= sample.keys():
                raise ValueError("SaliencyMetric: samples have no set_name or no seg_map_path; both must be among the "
                                 'meta_keys of PackSegInputs')
            saliency = round_to_8_bit(sample['seg_logits']['data'][0].cpu().numpy())
            mask = read_mask(sample['seg_map_path'])
            if saliency.shape != mask.shape:
                defect = size_defect(mask, image_shape(sample['img_path'])) or f'does not fit the map {saliency.shape}'
                raise ValueError(f'{sample["seg_map_path"]} {defect}')
            if self.save_dir:
                path = Path(self.save_dir, sample['set_name'], f'{Path(sample["img_path"]).stem}.png')
                path.parent.mkdir(parents=True, exist_ok=True)
                write_image(path, saliency, durable=False)
            self.results.append((sample['set_name'], score_saliency(saliency, mask)))

    def compute_metrics(self, results: list[tuple[str, SaliencyScores]]) -> dict[str, float]:
        """Average the scores of each set.

        Args:
            results (list[tuple[str, SaliencyScores]]): For every image its set and its scores.

        Returns:
            dict[str, float]: ``SET/METRIC``.
        """
        metrics = {}
        for name in dict.fromkeys(name for name, _ in results):
            of_set = [scores for set_name, scores in results if set_name == name]
            groups = {name: of_set, **(thirds_by_size(name, of_set) if self.by_size else {})}
            for group, scores in groups.items():
                metrics.update({f'{group}/{metric}': value for metric, value in average_scores(scores).items()})
        return metrics


@dataclass(frozen=True)
class SaliencyScores:
    """The scores of one saliency map.

    Attributes:
        f (np.ndarray): (256, ), F with β² = 0.3, for falling thresholds.
        precision (np.ndarray): (256, ), likewise.
        recall (np.ndarray): (256, ), likewise.
        e (np.ndarray): (256, ), the enhanced alignment measure, likewise.
        mae (float): The mean absolute error.
        s (float): The structure measure.
        weighted_f (float): The weighted F.
        dice (np.ndarray): (256, ), for falling thresholds.
        iou (np.ndarray): (256, ), likewise.
        share (float): The share of the pixels that is salient in the mask, 0 to 1.
    """

    f: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    e: np.ndarray
    mae: float
    s: float
    weighted_f: float
    dice: np.ndarray
    iou: np.ndarray
    share: float


def thirds_by_size(name: str, scores: Sequence[SaliencyScores]) -> dict[str, list[SaliencyScores]]:
    """Sort the scores of a set into 'NAME_small', 'NAME_medium' and 'NAME_large', of as many images each.

    Of a number that three does not divide, the small ones get the first that is over, and the medium ones the second.
    A set of fewer than three images has no groups.
    """
    if len(scores) < 3:
        return {}
    groups = split_by_size([score.share for score in scores])
    return {f'{name}_{size}': [scores[i] for i in group] for size, group in groups.items()}


def split_by_size(shares: Sequence[float]) -> dict[str, list[int]]:
    """The indices of the 'small', the 'medium' and the 'large' third of images, by the share that their object has."""
    thirds = np.array_split(np.argsort(shares, kind='stable'), 3)
    return {size: third.tolist() for size, third in zip(('small', 'medium', 'large'), thirds)}


def round_to_8_bit(saliency: np.ndarray) -> np.ndarray:
    """Round a map from 0 to 1 to uint8, 0 to 255."""
    return np.rint(255 * saliency).astype(np.uint8)


def average_scores(scores: Sequence[SaliencyScores]) -> dict[str, float]:
    """Average the scores of a set; of what depends on a threshold the greatest, of Dice and IoU the mean."""

    def mean(name: str) -> np.ndarray:
        return np.mean([getattr(score, name) for score in scores], axis=0)

    precision, recall = mean('precision'), mean('recall')
    f_of_mean = 1.3 * precision * recall / np.maximum(0.3 * precision + recall, np.finfo(float).tiny)
    averages = dict(f_measure=mean('f').max(), f_of_mean=f_of_mean.max(), mae=mean('mae'), s_measure=mean('s'),
                    e_measure=mean('e').max(), weighted_f=mean('weighted_f'), mean_dice=mean('dice').mean(),
                    mean_iou=mean('iou').mean())
    return {name: float(value) for name, value in averages.items()}


def score_saliency(saliency: np.ndarray, mask: np.ndarray) -> SaliencyScores:
    """Score a saliency map by pysodmetrics.

    Args:
        saliency (np.ndarray): (h, w) uint8, the map.
        mask (np.ndarray): (h, w), 1 where something is salient, else 0.
    """
    from py_sod_metrics import (
        MAE,
        DICEHandler,
        Emeasure,
        FmeasureHandler,
        FmeasureV2,
        IOUHandler,
        PrecisionHandler,
        RecallHandler,
        Smeasure,
        WeightedFmeasure,
    )
    by_threshold = dict(with_dynamic=True, with_adaptive=False)
    f = FmeasureV2(dict(f=FmeasureHandler(beta=0.3, **by_threshold), precision=PrecisionHandler(**by_threshold),
                        recall=RecallHandler(**by_threshold), dice=DICEHandler(**by_threshold),
                        iou=IOUHandler(**by_threshold)))
    mae, s, e, weighted = MAE(), Smeasure(), Emeasure(), WeightedFmeasure(beta=1)
    for metric in (f, mae, s, e, weighted):
        metric.step(saliency, 255 * mask)
    curves = {name: result['dynamic'] for name, result in f.get_results().items()}
    return SaliencyScores(**curves, mae=mae.get_results()['mae'], s=s.get_results()['sm'],
                          e=e.get_results()['em']['curve'], weighted_f=weighted.get_results()['wfm'],
                          share=float(mask.mean()))
