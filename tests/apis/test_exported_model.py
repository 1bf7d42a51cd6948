"""Exported files beside the toolboxes' inferencers, and without torch and OpenMMLab."""
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from helpers import ROOT
from test_export import export_small, picture

from res2net_mm.apis.exported import Exported
from res2net_mm.utils.errors import UserError

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
FORBIDDEN = """
import sys
class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {'torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpose',
                                      'mmpretrain'}:
            raise AssertionError(f'imports {name}')
sys.meta_path.insert(0, Forbid())
"""
PREDICT = FORBIDDEN + """
import cv2
from res2net_mm.apis import Exported
prediction = Exported(sys.argv[1], threads=1)(cv2.imread(sys.argv[2]))
print(prediction.task, *[name for name, value in vars(prediction).items() if value is not None])
"""


@pytest.mark.parametrize('task', ['classification', 'segmentation', 'saliency', 'keypoints', 'detection', 'masks'])
def test_the_same_prediction_as_the_toolbox(task, small_model, tmp_path):
    from res2net_mm.apis.predictor import Predictor
    config, checkpoint = small_model(task)
    export_small(small_model, task, tmp_path / 'a.onnx')
    exported, predictor = Exported(tmp_path / 'a.onnx', 1), Predictor(config, checkpoint, device='cpu')
    if task == 'keypoints':
        predictor.inference.inferencer.model.test_cfg['flip_test'] = False  # as an exported file is
    for image in (picture(), picture(131, 67, seed=1)):
        ours, (theirs, ) = exported(image), predictor([image])
        assert (ours.task, ours.size, ours.classes) == (theirs.task, theirs.size, theirs.classes)
        assert ours.skeleton == theirs.skeleton
        for name in ('labels', 'scores', 'boxes', 'masks', 'keypoints', 'segmentation', 'saliency'):
            one, other = getattr(ours, name), getattr(theirs, name)
            if other is None:
                assert one is None
                continue
            assert one.shape == other.shape and one.dtype == other.dtype, name
            if one.dtype == bool or name == 'segmentation':
                assert (one == other).mean() > 0.999, name
            else:
                assert np.allclose(one, other, rtol=1e-3, atol=2e-3), name


def test_keypoints_of_several_boxes(small_model, tmp_path):
    export_small(small_model, 'keypoints', tmp_path / 'a.onnx')
    model, image = Exported(tmp_path / 'a.onnx', 1), picture()
    boxes = np.array([[10, 10, 40, 60, 0.5], [50, 20, 90, 65, 1]], np.float32)
    both = model(image, boxes)
    alone = [model(image, box[None]) for box in boxes]
    order = np.argsort([-one.scores[0] for one in alone])
    assert np.allclose(both.keypoints, np.concatenate([alone[i].keypoints for i in order]), atol=1e-3)
    assert np.array_equal(both.boxes, boxes[order, :4])
    none = model(image, np.zeros((0, 4)))
    assert none.keypoints.shape == (0, 17, 3) and none.scores.shape == (0, )
    with pytest.raises(UserError, match=r'must be \(n, 4\)'):
        model(image, np.zeros(4))


@pytest.mark.parametrize('task', ['classification', 'masks'])
def test_neither_torch_nor_openmmlab_is_imported(task, small_model, tmp_path):
    export_small(small_model, task, tmp_path / 'a.onnx')
    cv2.imwrite(str(tmp_path / 'a.png'), picture())
    result = subprocess.run([sys.executable, '-c', PREDICT, str(tmp_path / 'a.onnx'), str(tmp_path / 'a.png')],
                            capture_output=True, text=True, cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert result.returncode == 0, result.stderr
    assert 'labels scores' in result.stdout


def test_files_that_are_none(tmp_path):
    import onnx
    with pytest.raises(UserError, match='must end with .onnx, .xml, .pt, .pt2'):
        Exported(tmp_path / 'a.txt')
    with pytest.raises(UserError, match='does not exist'):
        Exported(tmp_path / 'a.onnx')
    (tmp_path / 'a.onnx').write_bytes(b'')
    with pytest.raises(UserError, match='cannot be read'):
        Exported(tmp_path / 'a.onnx')
    one = onnx.helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, [1])
    other = onnx.helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node('Identity', ['x'], ['y'])], 'g', [one], [other])
    opset = [onnx.helper.make_opsetid('', 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / 'a.onnx')
    with pytest.raises(UserError, match='was not written by export'):
        Exported(tmp_path / 'a.onnx')


def test_images_that_are_none(small_model, tmp_path):
    export_small(small_model, 'classification', tmp_path / 'a.onnx')
    model = Exported(tmp_path / 'a.onnx', 1)
    for image in (picture()[..., 0], picture().astype(np.float32), None):
        with pytest.raises(UserError, match=r'\(h, w, 3\) of uint8'):
            model(image)
    assert json.dumps(model.spec)
