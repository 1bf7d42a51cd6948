"""The results file."""
import json
from dataclasses import replace

import pytest
from result_cases import sample_result

from res2net_mm.reproduction.results import append_result, newest_result, read_results
from res2net_mm.reproduction.tables import read_tables


def test_half_a_line_loses_nothing(tmp_path):
    warnings = []
    rows, path = list(read_tables()['table7'].rows.values()), tmp_path / 'sub' / 'results.jsonl'
    first, second = sample_result(rows[0]), sample_result(rows[1])
    append_result(path, first)
    with open(path, 'a') as file:
        file.write('{"table": "tab')  # where a crash stopped
    append_result(path, second)
    assert read_results(path, warnings.append) == [first, second]
    assert len(warnings) == 1 and warnings[0].startswith(f'{path}, line 2 is left out: it is not a result')
    with open(path, 'a') as file:
        file.write('{"table": "table7"}\n')
    assert read_results(path, warnings.append) == [first, second]
    assert 'line 4 is left out: it has no config' in warnings[-1]


def test_line_from_before_there_were_changes(tmp_path):
    """It is of the row that changes nothing; what else it lacks is told as absent."""
    rows, path = read_tables()['fig5'].rows, tmp_path / 'results.jsonl'
    append_result(path, sample_result(rows['start']))
    line = json.loads(path.read_text())
    for key in ('changes', 'table', 'seed'):
        del line[key]
    path.write_text(json.dumps(line))
    results = read_results(path, pytest.fail)
    assert results == [replace(sample_result(rows['start']), table='')]
    assert newest_result(results, rows['start'], None) == results[0]
    assert newest_result(results, rows['scale2'], None) is None


def test_line_from_before_the_training_wrote_down_its_batch(tmp_path):
    """It has the batch of a device times the devices of the test."""
    rows, path = read_tables()['table7'].rows, tmp_path / 'results.jsonl'
    append_result(path, sample_result(rows['r50']))
    line = json.loads(path.read_text())
    for key in ('batch_size', 'data', 'experiment_hash'):
        del line['train'][key]
    line['batch_size'], line['train']['devices'], line['test']['devices'] = 4, 8, 2
    path.write_text(json.dumps(line) + '\n')
    line['batch_size'] = None
    with open(path, 'a') as file:
        file.write(json.dumps(line) + '\n')
    assert [result.batch_size for result in read_results(path, pytest.fail)] == [16, None]


def test_lines_keep_their_form(tmp_path):
    """What a version wrote is read by every other: the keys of a line are fixed."""
    path = tmp_path / 'results.jsonl'
    append_result(path, sample_result(read_tables()['table7'].rows['r50'], measured={'miou': 78.0}))
    line = json.loads(path.read_text())
    assert list(line) == ['table', 'row', 'model', 'split', 'setting', 'config', 'changes', 'config_hash', 'schedule',
                          'from_scratch', 'options', 'data', 'seed', 'batch_size', 'recipe_batch_size', 'train', 'test',
                          'measured', 'paper']
    run = ['date', 'commit', 'version', 'torch', 'device', 'devices', 'seconds']
    assert list(line['test']) == run and list(line['train']) == [
        *run, 'finished', 'batch_size', 'data', 'experiment_hash', 'attempts']
