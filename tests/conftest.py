import os

os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')  # the tests are for the CPU, wherever they run
import pytest  # noqa: E402
import torch  # noqa: E402

from res2net_mm.datasets.shapes import write_shapes  # noqa: E402


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def shapes(tmp_path_factory):
    """A handful of generated images in COCO's layout; tests change copies of it only."""
    root = tmp_path_factory.mktemp('shapes')
    write_shapes(root, train=6, val=3)
    return root
