import os

os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')  # the tests are for the CPU, wherever they run
import pytest  # noqa: E402
import torch  # noqa: E402


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def randomise(model):
    """Give every weight and every batch-norm statistic a random value of a size that keeps activations near 1."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
            torch.nn.init.normal_(module.running_mean, 0, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
        elif isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    return model


def relative_error(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()
