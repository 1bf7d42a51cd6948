"""The handwritten digits as image folders."""
import cv2
import numpy as np
import pytest
from helpers import config_path
from mmengine.registry import DATASETS, init_default_scope

from res2net_mm import load_config
from res2net_mm.datasets.digits import write_digits
from res2net_mm.utils.config_edits import move_data_root


def test_digits(tmp_path):
    datasets = pytest.importorskip('sklearn.datasets')
    write_digits(tmp_path)
    written = sorted(tmp_path.glob('*/*/*.png'))
    digits = datasets.load_digits()
    assert sorted(int(path.stem) for path in written) == list(range(1797))  # every image in one half only
    for path in written[::50]:
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert path.parent.name == str(digits.target[int(path.stem)])
        assert np.array_equal(np.rint(image / 255 * 16), digits.images[int(path.stem)])
    assert len(list(tmp_path.glob('val/*/*.png'))) == 599
    pytest.importorskip('mmpretrain')
    init_default_scope('mmpretrain')
    cfg = load_config(config_path('digits_r2n26.py'))
    move_data_root(cfg, str(tmp_path))
    sample = DATASETS.build(cfg.train_dataloader.dataset)[0]
    assert sample['inputs'].shape == (3, 32, 32) and sample['data_samples'].gt_label == 0
