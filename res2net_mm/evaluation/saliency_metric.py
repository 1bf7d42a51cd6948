"""Metrics that no toolbox has: thin wrappers of libraries that others keep."""
from pathlib import Path

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric

from ..datasets.checks import size_defect
from ..datasets.saliency_folders import read_mask
from ..registry import METRICS
from ..reproduction import tables as paper
from ..utils.images import image_shape


@METRICS.register_module()
class SaliencyMetric(BaseMetric):
    """Saliency maps against masks, at the size of the photos, by the package pysodmetrics (paper section 4.9).

    Every map is rounded to 8 bits, as it is when it is saved, and compared with the mask on disk. pysodmetrics
    stretches each map to the range 0 to 1 before it compares. Results, for every set by itself:

    * ``SET/f_measure``: the greatest F, of 256 thresholds, with β² = 0.3; F is the mean over photos, per threshold;
    * ``SET/f_of_mean``: the same, but F of the mean precision and the mean recall, as the code of DSS has it;
    * ``SET/mae``: the mean absolute error;
    * ``SET/s_measure``: the structure measure;
    * ``SET/e_measure``: the enhanced alignment measure, the greatest of 256 thresholds;
    * ``SET/weighted_f``: the weighted F of Margolin et al., β² = 1.

    A photo in which nothing is salient has an F of 0, like every other.

    Args:
        save_dir (str | None): Folder for the maps, as ``SET/NAME.png``, grey, at the size of the photo. Defaults to
            None, they are not saved.
        table (str | None): Table of ``tables.yml`` whose numbers are printed beside the results. Defaults to None.
        collect_device (str): As in mmengine's BaseMetric. Defaults to 'cpu'.
        collect_dir (str | None): As in mmengine's BaseMetric. Defaults to None.

    Raises:
        ValueError: If there is no such table, a mask is bad, or a map has another size than its mask.
        ModuleNotFoundError: If pysodmetrics is not installed.
    """

    def __init__(self, save_dir=None, table=None, collect_device='cpu', collect_dir=None):
        super().__init__(collect_device, collect_dir=collect_dir)
        try:
            import py_sod_metrics  # noqa: F401
        except ImportError as error:
            raise ModuleNotFoundError(
                "SaliencyMetric needs pysodmetrics: pip install 'res2net_mm[saliency]'") from error
        tables = paper.read_tables()
        if table is not None and table not in tables:
            raise ValueError(f'SaliencyMetric: table={table!r} must be one of {", ".join(tables)}')
        self.save_dir = save_dir
        self.table = tables.get(table)

    def process(self, data_batch, data_samples):
        """Compare the maps of a batch.

        Args:
            data_batch (dict): Not used.
            data_samples (Sequence[dict]): With ``seg_logits``, the map, (1, h, w) from 0 to 1, and of the dataset
                ``img_path``, ``seg_map_path`` and ``set_name``.
        """
        for sample in data_samples:
            if not {'set_name', 'seg_map_path'} <= sample.keys():
                raise ValueError("SaliencyMetric: samples have no set_name or no seg_map_path; both must be among the "
                                 'meta_keys of PackSegInputs')
            saliency = to_8_bit(sample['seg_logits']['data'][0].cpu().numpy())
            mask = read_mask(sample['seg_map_path'])
            if saliency.shape != mask.shape:
                defect = size_defect(mask, image_shape(sample['img_path'])) or f'does not fit the map {saliency.shape}'
                raise ValueError(f'{sample["seg_map_path"]} {defect}')
            if self.save_dir:
                path = Path(self.save_dir, sample['set_name'], f'{Path(sample["img_path"]).stem}.png')
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), saliency)
            self.results.append((sample['set_name'], compare(saliency, mask)))

    def compute_metrics(self, results):
        """Average.

        Args:
            results (list[tuple[str, dict]]): Of every photo its set, and what ``compare`` returns.

        Returns:
            dict[str, float]: ``SET/METRIC``.
        """
        log = {}
        for name in dict.fromkeys(name for name, _ in results):
            of_set = [numbers for each, numbers in results if each == name]
            mean = {key: np.mean([numbers[key] for numbers in of_set], axis=0) for key in of_set[0]}
            precision, recall = mean['precision'], mean['recall']
            f_of_mean = 1.3 * precision * recall / np.maximum(0.3 * precision + recall, np.finfo(float).tiny)
            values = dict(f_measure=mean['f'].max(), f_of_mean=f_of_mean.max(), mae=mean['mae'], s_measure=mean['s'],
                          e_measure=mean['e'].max(), weighted_f=mean['weighted_f'])
            log.update({f'{name}/{key}': float(value) for key, value in values.items()})
        if self.table:
            from ..cli.reproduce import print_settings
            print_settings(self.table, log)
        return log


def to_8_bit(saliency):
    """A map from 0 to 1 -> uint8, rounded."""
    return np.rint(255 * saliency).astype(np.uint8)


def compare(saliency, mask):
    """What pysodmetrics says of one photo.

    Args:
        saliency (np.ndarray): (h, w) uint8, the map.
        mask (np.ndarray): (h, w), 1 where something is salient, else 0.

    Returns:
        dict: ``f``, ``precision``, ``recall`` and ``e``, (256, ), for falling thresholds; ``mae``, ``s`` and
        ``weighted_f``.
    """
    from py_sod_metrics import (
        MAE,
        Emeasure,
        FmeasureHandler,
        FmeasureV2,
        PrecisionHandler,
        RecallHandler,
        Smeasure,
        WeightedFmeasure,
    )
    by_threshold = dict(with_dynamic=True, with_adaptive=False)
    f = FmeasureV2(dict(f=FmeasureHandler(beta=0.3, **by_threshold), precision=PrecisionHandler(**by_threshold),
                        recall=RecallHandler(**by_threshold)))
    mae, s, e, weighted = MAE(), Smeasure(), Emeasure(), WeightedFmeasure(beta=1)
    for metric in (f, mae, s, e, weighted):
        metric.step(saliency, 255 * mask)
    curves = {key: result['dynamic'] for key, result in f.get_results().items()}
    return dict(curves, mae=mae.get_results()['mae'], s=s.get_results()['sm'], e=e.get_results()['em']['curve'],
                weighted_f=weighted.get_results()['wfm'])
