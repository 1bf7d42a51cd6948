import pytest
from helpers import write_small_model


@pytest.fixture(scope='session')
def small_model(tmp_path_factory):
    """A function: the config and the checkpoint of a small model with random weights, by its task."""
    folder, written = tmp_path_factory.mktemp('small_models'), {}

    def find(task):
        if task not in written:
            written[task] = write_small_model(folder, task)
        return written[task]

    return find
