"""Files of 8 bits: near float32, smaller, with the first and the last layers in float32."""
import cv2
import numpy as np
import pytest
from helpers import expect_failure, write_small_model

from res2net_mm.apis.export import export
from res2net_mm.apis.exported import Exported
from res2net_mm.apis.exporting.int8 import choose_images, float_layers, float_nodes
from res2net_mm.cli.export import main
from res2net_mm.utils.errors import UserError

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """A folder of smooth noise, with a folder in it."""
    folder = tmp_path_factory.mktemp('pictures')
    (folder / 'more').mkdir()
    for i in range(8):
        noise = np.random.default_rng(i).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        file = folder / ('more' if i % 2 else '') / f'{i}.png'
        cv2.imwrite(str(file), cv2.resize(noise, (96, 80), interpolation=cv2.INTER_CUBIC))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize('to', ['onnx', 'openvino'])
def test_8_bits_are_near_float32(to, pictures, small_model, tmp_path):
    if to == 'openvino':
        pytest.importorskip('nncf')
    suffix = dict(onnx='.onnx', openvino='.xml')[to]
    config, checkpoint = small_model('segmentation')  # logits, which no softmax has made 0 or 1
    files = choose_images(pictures)
    export(config, tmp_path / f'float{suffix}', to, checkpoint)
    images = [cv2.imread(str(file)) for file in files]
    check = export(config, tmp_path / f'int8{suffix}', to, checkpoint, int8=files, check=images)
    assert check.holds and 1e-4 < check.errors['logits'] < 0.2  # it is not float32
    weights = '.onnx' if to == 'onnx' else '.bin'
    sizes = [(tmp_path / name).with_suffix(weights).stat().st_size for name in ('int8', 'float')]
    assert sizes[0] < 0.45 * sizes[1]
    plain, small = (Exported(tmp_path / f'{name}{suffix}', threads=1) for name in ('float', 'int8'))
    assert plain.spec == small.spec
    if to == 'onnx':
        nodes = onnx.load(tmp_path / 'int8.onnx').graph.node
        quantised = {name for node in nodes if node.op_type == 'DequantizeLinear' for name in node.output}
        layers = [node for node in nodes if node.op_type in ('Conv', 'Gemm')]
        kept = [node for node in layers if not set(node.input[:2]) <= quantised]
        assert layers[0] in kept and layers[-1] in kept and len(kept) <= 3 and len(layers) > 20


@pytest.mark.slow
def test_a_detector_keeps_what_leads_to_boxes_and_scores(pictures, tmp_path):
    pytest.importorskip('mmdet')
    config, checkpoint = write_small_model(tmp_path, 'detection')
    export(config, tmp_path / 'float.onnx', checkpoint=checkpoint)
    kept = float_layers(onnx.load(tmp_path / 'float.onnx'))
    parts = ('rpn_cls', 'rpn_reg', 'fc_cls', 'fc_reg')
    assert all(any(part in name for part in parts) for name in kept[1:])
    assert all(any(part in name for name in kept) for part in parts)
    nodes = onnx.load(tmp_path / 'float.onnx').graph.node
    boxes = {name for node in nodes for name in dict(RoiAlign=node.input[1:2], NonMaxSuppression=node.input[:2]).get(
        node.op_type, ())}
    arithmetic = {node.name for node in nodes if node.op_type == 'Exp' or set(node.output) & boxes}
    assert arithmetic <= set(float_nodes(onnx.load(tmp_path / 'float.onnx')))
    export(config, tmp_path / 'int8.onnx', checkpoint=checkpoint, int8=choose_images(pictures, 4))
    Exported(tmp_path / 'int8.onnx')(np.zeros((90, 120, 3), np.uint8))


def test_images_are_chosen_once_and_for_all(pictures):
    assert choose_images(pictures, 3) == choose_images(pictures, 3) != choose_images(pictures, 3, seed=1)
    assert len(choose_images(pictures)) == 8 and len(choose_images(pictures, 3)) == 3
    with pytest.raises(UserError, match='no image in that folder'):
        choose_images(pictures / 'nothing')


@pytest.mark.parametrize('arguments, message', [
    (['--to', 'pt2', '--int8', '{}'], '--int8 with --to pt2: must be one of onnx, openvino'),
    (['--int8', '{}/nothing'], 'no image in that folder'),
    (['--int8', '{}', '--int8-samples', '0'], '--int8-samples 0: must be 1 or more'),
    (['--int8-samples', '3'], '--int8-samples is for --int8'),
])
def test_what_cannot_be_done_is_said(arguments, message, pictures, small_model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, checkpoint = small_model('classification')
    expect_failure(capsys, main, [config, '--checkpoint', checkpoint, *(word.format(pictures) for word in arguments)],
                   message)
    assert not list(tmp_path.iterdir())
