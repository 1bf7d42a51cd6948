"""The DSS head: its maps and losses by hand, its prediction, and bad arguments."""
import pytest
import torch
from helpers import randomise, saliency_sample
from torch.nn.functional import softplus

from res2net_mm import DSSHead

pytest.importorskip('mmseg')
OWN, BIASES = (1., -2., 3., -0.5, 0.25), (0.1, 0.2, 0.3)
WEIGHTS = ((2., 1., -1., 3., 0.5), (1., 4., -2.), (0.5, -1., 2.))
FUSE = (0.1, 0.2, 0.3, 0.4, 0.5)


def constant_head(own, biases, weights, **arguments):
    """A head whose sides' own maps are constants, and whose merges and fusion have known weights."""
    head = DSSHead((3, ) * 5, channels=(2, ) * 5, **arguments)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    for side, value in zip(head.sides, own):
        torch.nn.init.zeros_(side.score.weight)
        torch.nn.init.constant_(side.score.bias, value)
    for side, bias, weight in zip(head.sides, biases, weights):
        torch.nn.init.constant_(side.merge.bias, bias)
        side.merge.weight.data.view(-1)[:] = torch.tensor(weight)
    return head


def features(sizes=(32, 16, 8, 4, 4), batch=2, channels=(3, ) * 5):
    return [torch.randn(batch, c, size, size + 1) for c, size in zip(channels, sizes)]


def expected_maps():
    """The short connections by hand: raw, raw; combined with both; combined with the two combined and both raw."""
    raw3, raw4 = OWN[3:]
    map1 = WEIGHTS[1][0] * OWN[1] + WEIGHTS[1][1] * raw3 + WEIGHTS[1][2] * raw4 + BIASES[1]
    map2 = WEIGHTS[2][0] * OWN[2] + WEIGHTS[2][1] * raw3 + WEIGHTS[2][2] * raw4 + BIASES[2]
    w = WEIGHTS[0]
    map0 = w[0] * OWN[0] + w[1] * map1 + w[2] * map2 + w[3] * raw3 + w[4] * raw4 + BIASES[0]
    maps = [map0, map1, map2, raw3, raw4]
    return [*maps, sum(weight * value for weight, value in zip(FUSE, maps)) + 0.7]


@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_constant_sides_give_the_expected_maps_and_loss(reduction):
    head = constant_head(OWN, BIASES, WEIGHTS, reduction=reduction)
    head.fuse.weight.data.view(-1)[:] = torch.tensor(FUSE)
    head.fuse.bias.data.fill_(0.7)
    maps = head.side_logits(features(), (63, 65))
    expected = expected_maps()
    assert expected[0] == pytest.approx(-6.375) and expected[2] == pytest.approx(2.8)  # worked out on paper
    for got, value in zip(maps, expected):
        assert got.shape == (2, 1, 63, 65)
        torch.testing.assert_close(got, torch.full_like(got, value), rtol=1e-5, atol=1e-5)

    # Two images of 63 x 65: one with 100 salient pixels, one with 200 and a border of 63 pixels that do not count.
    labels = torch.zeros(2, 63, 65, dtype=torch.int64)
    labels[0, :10, :10] = 1
    labels[1, :10, :20] = 1
    labels[1, :, -1] = 255
    losses = head.loss(features(), [saliency_sample(each) for each in labels])
    assert list(losses) == [*(f'loss_side{i}' for i in range(5)), 'loss_fused']
    pixels = 2 * 63 * 65 - 63
    for loss, value in zip(losses.values(), torch.tensor(expected, dtype=torch.float64)):
        total = 300 * softplus(-value) + (pixels - 300) * softplus(value)
        assert loss.item() == pytest.approx((total / (2 if reduction == 'sum' else pixels)).item(), rel=1e-5)


@pytest.mark.parametrize('averaged', [(0, 1, 2, 'fused'), (1, 2, 3, 'fused'), (4, )])
def test_prediction_is_the_mean_of_the_maps(averaged):
    head = constant_head(OWN, BIASES, WEIGHTS, averaged=averaged)
    maps = head.side_logits(features(), (9, 9))
    wanted = torch.stack([maps[5 if i == 'fused' else i].double().sigmoid() for i in averaged]).mean(0)
    torch.testing.assert_close(head.predict([*features()], [dict(img_shape=(9, 9, 3))]).double().sigmoid(), wanted)


def test_prediction_of_certain_maps_is_finite():
    for value in (200., -200.):
        logit = constant_head((value, ) * 5, (0., ) * 3, WEIGHTS, averaged=(3, 4))(features())
        torch.testing.assert_close(logit, torch.full_like(logit, value))
    mixed = constant_head((0., 0., 0., 200., -200.), (0., ) * 3, WEIGHTS, averaged=(3, 4))(features())
    torch.testing.assert_close(mixed.sigmoid(), torch.full_like(mixed, 0.5))


def test_which_sides_a_map_depends_on():
    head, inputs = randomise(DSSHead((3, ) * 5, channels=(2, ) * 5)), features()
    inputs = [each.requires_grad_() for each in inputs]
    used = []
    for each in head.side_logits(inputs, (32, 32)):
        gradients = torch.autograd.grad(each.square().sum(), inputs, retain_graph=True, allow_unused=True)
        used.append([i for i, gradient in enumerate(gradients) if gradient is not None and gradient.any()])
    assert used == [[0, 1, 2, 3, 4], [1, 3, 4], [2, 3, 4], [3], [4], [0, 1, 2, 3, 4]]


def test_six_sides_as_on_vgg():
    head = DSSHead((3, ) * 6, channels=(2, ) * 6, kernel_sizes=(3, 3, 5, 5, 5, 7))
    assert [side.merge and side.merge.in_channels for side in head.sides] == [5, 5, 3, 3, None, None]
    assert head(features((32, 16, 8, 4, 2, 2), channels=(3, ) * 6)).shape == (2, 1, 32, 33)


def test_initialisation():
    with torch.device('meta'):
        head = DSSHead((64, 256, 512, 1024, 2048))
    shapes = [tuple(side.conv1.weight.shape) for side in head.sides]
    assert shapes == [(128, 64, 3, 3), (256, 256, 5, 5), (256, 512, 5, 5), (512, 1024, 5, 5), (512, 2048, 7, 7)]
    head = DSSHead((16, ) * 5, channels=(16, ) * 5)
    head.init_weights()
    assert torch.equal(head.fuse.weight, torch.full((1, 5, 1, 1), 1 / 5))
    assert not any(p.any() for name, p in head.named_parameters() if name.endswith('bias'))
    assert all(side.conv2.weight.std().item() == pytest.approx(0.01, rel=0.05) for side in head.sides)


@pytest.mark.parametrize('argument, value, allowed', [
    ('in_channels', (3, 3, 3, 3), 'five or more'), ('channels', (2, ) * 4, '5 integers'),
    ('kernel_sizes', (3, 5, 5, 5, 6), 'odd'), ('averaged', (5, ), "from 0 to 4 or 'fused'"),
    ('averaged', ('fuse', ), "'fused'"), ('reduction', 'none', "'sum', 'mean'"), ('threshold', 2, 'from 0 to 1'),
])
def test_bad_argument_of_the_head_is_named(argument, value, allowed):
    with pytest.raises(ValueError, match=f'DSSHead: {argument}') as error:
        DSSHead(**{**dict(in_channels=(3, ) * 5), argument: value})
    assert allowed in str(error.value)
