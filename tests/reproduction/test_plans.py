"""What a row is run with."""
import pytest

from res2net_mm.reproduction.plans import RunSettings, plan_run
from res2net_mm.reproduction.tables import read_tables


@pytest.mark.parametrize('table', ['table5', 'table8'])
def test_runs_of_the_paper(table, tmp_path):
    """Wherever the data is it is the same run, and on 8 devices another one than on 1."""
    pytest.importorskip('mmdet')
    row = read_tables()[table].runnable_rows[0]

    def planned(data, **settings):
        return plan_run(row, data, RunSettings(tmp_path, **settings))

    here, there, eight = planned('/data/coco'), planned('/mnt/elsewhere/'), planned('/data/coco', gpus=8)
    loading = planned('/data/coco', options={'train_dataloader.num_workers': 0})
    assert here.config_hash == there.config_hash == loading.config_hash == planned(None).config_hash
    assert eight.config_hash != here.config_hash and eight.experiment_hash == here.experiment_hash
    assert eight.batch_size == 8 * here.batch_size and eight.folder != here.folder
    spread = planned('/data/coco', options={'train_dataloader.batch_size': 8 * here.batch_size})
    assert spread.config_hash == eight.config_hash
