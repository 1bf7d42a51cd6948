"""tools/reproduce.py: the list of tables, and wrong arguments."""
import re

import pytest

from res2net_mm.cli import reproduce


def test_list_of_tables(capsys):
    reproduce.main([])
    printed = capsys.readouterr().out
    assert re.search('r2n50_26w4s +Res2Net-50 26w4s +mask_rcnn_r2n50_coco.py', printed)
    assert re.search('wrn +Wide ResNet +no config yet', printed)


@pytest.mark.parametrize('arguments, message', [
    (['nosuch'], r"(?s)no table 'nosuch'; there are:.*table10 .*simplebaseline_r2n50_coco.py"),
    (['ecssd_looks'], 'ecssd_looks trains nothing: it measures the nets of ecssd; python tools/misc/evidence.py'),
    (['table7', '--rows', 'r50', 'r52'], 'table7 has no row r52; it has r50, r2n50_48w2s'),
    (['table4', '--rows', 'wrn', 'densenet_bc'], 'no config yet for wrn, densenet_bc'),
    (['table5', '--data', '/data'], 'name each: voc07=DIR coco=DIR'),
    (['table7', '--data', 'coco=/data'], "no row needs 'coco'; needed is voc12aug"),
    (['table7', '--cfg-options', 'seed'], 'wanted is KEY=VALUE'),
    (['table7', '--tables', 'nosuch.yml'], "'nosuch.yml' does not exist"),
    (['--report', 'x.md', '--results', 'nosuch.jsonl'], "'nosuch.jsonl' does not exist"),
])
def test_wrong_arguments(arguments, message):
    with pytest.raises(SystemExit) as stop:
        reproduce.main(arguments)
    assert re.search(message, str(stop.value.code)), stop.value.code


@pytest.mark.parametrize('arguments', [['table7', '--schedule', 'long'], ['table7', '--gpus', '0'],
                                       ['table7', '--test-gpus', '0']])
def test_wrong_choice(arguments, capsys):
    with pytest.raises(SystemExit):
        reproduce.main(arguments)
    assert arguments[1] in capsys.readouterr().err
