"""The kernels of batch norm, addition and ReLU against PyTorch in double precision."""
import pytest
import torch
from helpers import assert_near, needs_compiler

from res2net_mm.acceleration.training.kernels import kernels
from res2net_mm.acceleration.training.norm_kernels import Norm, moments, normalise, normalise_backward

pytestmark = needs_compiler


def matrix(pixels, channels, dtype, wide=False):
    """(pixels, channels) at random; a slice of a wider one if ``wide``."""
    return torch.randn(pixels, channels + 5, dtype=dtype)[:, 2:2 + channels] if wide else torch.randn(
        pixels, channels, dtype=dtype)


def norm_at_random(z, statistics):
    """A Norm, and the function of z, weight and bias that it is, with the two, in double precision."""
    weight, bias = torch.rand(z.shape[1], dtype=torch.float64) + 0.5, torch.randn(z.shape[1], dtype=torch.float64) / 5
    running = torch.randn_like(weight) / 5, torch.rand_like(weight) + 0.5

    def statistics_of(z):
        mean, variance = (z.mean(0), z.var(0, unbiased=False)) if statistics else running
        return mean, (variance + 0.1).rsqrt()

    def function(z, weight, bias):
        mean, invstd = statistics_of(z)
        return (z - mean) * invstd * weight + bias

    mean, invstd = statistics_of(z.double())
    scale = weight * invstd
    tensors = (tensor.to(z.dtype) for tensor in (scale, bias - mean * scale, mean, invstd))
    return Norm(torch.stack(tuple(tensors)), statistics), function, weight.requires_grad_(), bias.requires_grad_()


SIZES = [(pixels, channels) for pixels in (1, 2, 63, 64, 65, 200) for channels in (1, 26)]
PRECISIONS = pytest.mark.parametrize('dtype, tolerance', [(torch.float64, 1e-12), (torch.float32, 1e-5)])


@pytest.fixture(params=[1, 3])
def threads(request):
    usual = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(usual)


@PRECISIONS
@pytest.mark.parametrize('wide', [False, True])
def test_moments(dtype, tolerance, wide, threads):
    for pixels, channels in SIZES:
        z = matrix(pixels, channels, dtype, wide) * 3 + 1
        mean, variance = moments(z)
        assert_near(mean, z.double().mean(0), tolerance)
        assert_near(variance, z.double().var(0, unbiased=False), tolerance)


def test_moments_far_from_zero():
    """The mean of the squares less the square of the mean would have no digit left."""
    z = torch.randn(5000, 7) + 1000
    mean, variance = moments(z)
    assert_near(mean, z.double().mean(0), 1e-7)
    assert_near(variance, z.double().var(0, unbiased=False), 1e-5)


@PRECISIONS
@pytest.mark.parametrize('wide', [False, True])
@pytest.mark.parametrize('relu_first, adds, relu_last', [
    (False, False, False), (True, False, False), (False, False, True),
    (False, True, False), (True, True, False), (False, True, True)])
def test_normalise(dtype, tolerance, wide, relu_first, adds, relu_last, threads):
    for pixels, channels in SIZES:
        z, addend = matrix(pixels, channels, dtype, wide), matrix(pixels, channels, dtype, wide) if adds else None
        norm, function, weight, bias = norm_at_random(z, True)
        wanted = function(z.double(), weight, bias)
        wanted = wanted.relu() if relu_first else wanted
        wanted = wanted + addend if adds else wanted
        wanted = wanted.relu() if relu_last else wanted
        assert_near(normalise(z, norm, None, addend, relu_first, relu_last), wanted, tolerance)

        around = torch.zeros(pixels, channels + 2, dtype=dtype)
        out = around[:, 1:-1]
        assert normalise(z, norm, out, addend, relu_first, relu_last) is out
        assert_near(out, wanted, tolerance)
        assert not around[:, [0, -1]].any()


@PRECISIONS
@pytest.mark.parametrize('wide', [False, True])
@pytest.mark.parametrize('statistics', [False, True])
@pytest.mark.parametrize('relu, adds, second', [
    (False, False, False), (True, False, False), (False, False, True), (True, False, True), (True, True, False)])
def test_normalise_backward(dtype, tolerance, wide, statistics, relu, adds, second, threads):
    for pixels, channels in SIZES:
        grad, z, addend, grad2 = (matrix(pixels, channels, dtype, wide) for _ in range(4))
        before = [tensor.clone() for tensor in (grad, z, addend, grad2)]
        norm, function, weight, bias = norm_at_random(z, statistics)
        inputs = z.double().requires_grad_(), addend.double().requires_grad_()
        wanted = function(inputs[0], weight, bias) + (inputs[1] if adds else 0)
        wanted = wanted.relu() if relu else wanted
        grad_result = grad.double() + grad2 if second else grad.double()
        wanted_z, wanted_addend, wanted_weight, wanted_bias = torch.autograd.grad(
            wanted, (*inputs, weight, bias), grad_result, allow_unused=True)

        around = torch.zeros(pixels, channels + 2, dtype=dtype)
        for out in (None, around[:, 1:-1]):
            grad_z, (grad_bias, grad_weight), grad_addend = normalise_backward(
                grad, z, norm, out, relu, addend if adds else None, grad2 if second else None)
            assert out is None or grad_z is out
            # What is left of two terms that nearly cancel, of a pixel or two, is as exact as they are.
            room = tolerance * grad_result.norm()
            assert (grad_z - wanted_z).norm() <= room + tolerance * wanted_z.norm()
            assert (grad_bias - wanted_bias).norm() <= room and (grad_weight - wanted_weight).norm() <= 10 * room
            assert grad_addend is None if not adds else (grad_addend - wanted_addend).norm() <= room
        assert not around[:, [0, -1]].any()
        assert all(map(torch.equal, before, (grad, z, addend, grad2)))


def test_what_is_not_a_number_stays_so():
    """In PyTorch a ReLU passes it on, so that a run that diverges is seen to."""
    z = torch.tensor([[float('nan')], [1]])
    norm = Norm(torch.ones(4, 1), True)
    for options in (dict(relu_first=True), dict(relu_last=True)):
        assert normalise(z, norm, **options).isnan().tolist() == [[True], [False]]
    grad = torch.tensor([[2.], [3]])
    plain = torch.zeros(2, 1, requires_grad=True)
    torch.relu(plain + z).backward(grad)
    frozen = Norm(torch.ones(4, 1), False)
    assert torch.equal(normalise_backward(grad, z, frozen, relu=True)[0], plain.grad)


# What does not fit together is an error before memory is touched.

Z, WRONG = torch.ones(6, 4), {
    'fewer pixels': torch.ones(5, 4),
    'fewer channels': torch.ones(6, 3),
    'a pixel that broadcasts': torch.ones(1, 4),
    'a channel that broadcasts': torch.ones(6, 1),
    'no matrix': torch.ones(24),
    'three dimensions': torch.ones(6, 4, 1),
    'another type': torch.ones(6, 4, dtype=torch.float64),
    'a type that is not summed': torch.ones(6, 4, dtype=torch.int32),
    'another device': torch.ones(6, 4, device='meta'),
    'channels that are not side by side': torch.ones(4, 6).T,
    'channels that share memory': torch.ones(6, 1).expand(6, 4),
    'another layout': torch.ones(6, 4).to_sparse(),
}


def call_moments(**tensors):
    return kernels().moments(tensors.get('z', Z))


def call_normalise(**tensors):
    given = {**dict(z=Z, scale=Z[0], shift=Z[0], out=Z.clone(), addend=Z), **tensors}
    return kernels().normalise(*given.values(), False, False)


def call_normalise_backward(**tensors):
    given = {**dict(grad=Z, grad2=None, addend=Z, relu=True, z=Z, scale=Z[0], shift=Z[0], mean=Z[0], invstd=Z[0],
                    statistics=True, masked=Z.clone(), out=Z.clone()), **tensors}
    return kernels().normalise_backward(*given.values())


MATRICES = [(call_normalise, 'out'), (call_normalise, 'addend'), (call_normalise_backward, 'grad'),
            (call_normalise_backward, 'addend'), (call_normalise_backward, 'masked'), (call_normalise_backward, 'out')]
VECTORS = [(call_normalise, 'scale'), (call_normalise, 'shift'), (call_normalise_backward, 'scale'),
           (call_normalise_backward, 'shift'), (call_normalise_backward, 'mean'), (call_normalise_backward, 'invstd')]


@pytest.mark.parametrize('call, name', MATRICES, ids=lambda value: getattr(value, '__name__', value))
@pytest.mark.parametrize('wrong', WRONG)
def test_matrices_that_do_not_fit(call, name, wrong):
    call()
    with pytest.raises(RuntimeError):
        call(**{name: WRONG[wrong]})


@pytest.mark.parametrize('wrong', WRONG)
def test_a_second_gradient_that_does_not_fit(wrong):
    call_normalise_backward(addend=None, masked=None, grad2=Z)
    with pytest.raises(RuntimeError):
        call_normalise_backward(addend=None, masked=None, grad2=WRONG[wrong])


@pytest.mark.parametrize('call, name', VECTORS, ids=lambda value: getattr(value, '__name__', value))
@pytest.mark.parametrize('wrong', [
    torch.ones(3), torch.ones(5), torch.ones(1), torch.ones(1, 4), torch.ones(8)[::2], torch.ones(1).expand(4),
    torch.ones(4, dtype=torch.float64), torch.ones(4, device='meta')], ids=lambda wrong: f'{wrong.shape} {wrong.dtype}')
def test_vectors_that_do_not_fit(call, name, wrong):
    with pytest.raises(RuntimeError):
        call(**{name: wrong})


@pytest.mark.parametrize('call', [call_moments, call_normalise, call_normalise_backward])
@pytest.mark.parametrize('wrong', [
    'no matrix', 'three dimensions', 'a type that is not summed', 'another device',
    'channels that are not side by side', 'another layout'])
def test_a_z_that_is_no_matrix(call, wrong):
    with pytest.raises(RuntimeError):
        call(z=WRONG[wrong])


def test_what_cannot_be_computed():
    with pytest.raises(RuntimeError, match='no pixels'):
        moments(torch.ones(0, 4))
    with pytest.raises(RuntimeError, match='share memory'):
        call_normalise(out=torch.ones(1, 4).expand(6, 4))
    with pytest.raises(RuntimeError, match='one ReLU'):
        normalise(Z, Norm(torch.ones(4, 4), True), None, None, True, True)
    with pytest.raises(RuntimeError, match='no such combination'):
        call_normalise_backward(masked=None)
