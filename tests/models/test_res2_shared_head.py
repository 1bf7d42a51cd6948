"""Stage 4 as a shared head: with a three-stage backbone it is the whole net, and both load from one checkpoint."""
import pytest
import torch
from helpers import randomise, relative_error
from mmengine.registry import MODELS, init_default_scope

from res2net_mm import Res2Net, Res2SharedHead
from res2net_mm.checkpoints.files import write_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    whole = randomise(Res2Net()).eval()
    path = tmp_path / 'res2net50.pth'
    write_checkpoint({**whole.state_dict(), 'fc.weight': torch.ones(10, 2048), 'fc.bias': torch.ones(10)}, path)
    return whole, dict(type='Pretrained', checkpoint=str(path))


def test_backbone_and_head_are_the_whole_net(checkpoint):
    whole, init_cfg = checkpoint
    backbone = Res2Net(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2, ), init_cfg=init_cfg)
    head = MODELS.build(dict(type='res2net_mm.Res2SharedHead', init_cfg=init_cfg))
    for part in (backbone, head):
        part.init_weights()
        part.eval()
    x = torch.randn(2, 3, 64, 96)
    assert relative_error(head(backbone(x)[0]), whole(x)[-1]) < 1e-6
    assert head.out_channels == 2048


def test_keys_are_those_of_mmdets_shared_head():
    """So that a checkpoint of stage 4 fits both; the block's own names differ."""
    pytest.importorskip('mmdet')
    from mmdet.registry import MODELS as MMDET
    init_default_scope('mmdet')
    theirs = MMDET.build(dict(type='ResLayer', depth=50)).state_dict()
    assert {key.split('.')[0] for key in theirs} == {key.split('.')[0] for key in Res2SharedHead().state_dict()}


@pytest.mark.parametrize('arguments, changes', [
    (dict(stride=1), 'size'), (dict(dilation=2), 'values'), (dict(stage_pool='strided', stride=1), 'size'),
    (dict(style='caffe'), 'values'), (dict(arch='res2net50_14w8s'), 'parameters'),
])
def test_arguments_do_something(arguments, changes):
    head, other = Res2SharedHead().eval(), Res2SharedHead(**arguments).eval()
    if changes == 'parameters':
        assert [p.shape for p in head.parameters()] != [p.shape for p in other.parameters()]
        return
    other.load_state_dict(head.state_dict())
    x = torch.randn(1, 1024, 14, 14)
    ours, theirs = head(x), other(x)
    assert ours.shape[2:] == (7, 7)
    assert theirs.shape[2:] == ((14, 14) if changes == 'size' else (7, 7))
    assert changes == 'size' or relative_error(ours, theirs) > 1e-2


@pytest.mark.parametrize('norm_eval', [True, False])
def test_norm_eval_and_checkpointing(norm_eval):
    head = Res2SharedHead(norm_eval=norm_eval, with_cp=True).train()
    assert head.layer4[0].bn1.training is not norm_eval
    head(torch.randn(2, 1024, 4, 4)).sum().backward()
    assert all(p.grad is not None for p in head.parameters())


def test_an_incomplete_checkpoint_is_an_error(checkpoint, tmp_path):
    whole, _ = checkpoint
    state = {key: value for key, value in whole.state_dict().items() if key != 'layer4.2.convs.1.weight'}
    with pytest.raises(ValueError, match='does not fit stage 4 of Res2Net-50.*1 missing: layer4.2.convs.1.weight'):
        Res2SharedHead().load_state_dict(state)
    with pytest.raises(ValueError, match='left over: layer5.0.conv1.weight'):
        Res2SharedHead().load_state_dict({**whole.state_dict(), 'layer5.0.conv1.weight': torch.ones(1)})
    with pytest.raises(ValueError, match="stage_pool='sometimes'"):
        Res2SharedHead(stage_pool='sometimes')
