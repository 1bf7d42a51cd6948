"""A small table of two rows, and results as of a run."""
import json

from helpers import DEMO

from res2net_mm.reproduction.results import Result, RunRecord, TrainingRecord

TABLE = '''
shapes:
  title: Shapes
  data: shapes
  columns: [box_ap, box_ap50]
  rows:
    r50: {{model: ResNet-50, role: baseline, config: {folder}/missing.py, paper: [31.1, 51.4]}}
    r2n26: {{model: Res2Net-26, split: 26w4s, role: ours, twin: r50, config: {folder}/tiny.py, paper: [33.7, 53.6]}}
    later: {{model: Res2Net-101, role: ours}}
'''
TINY = f'''
_base_ = {DEMO!r}
model = dict(
    backbone=dict(base_channels=8), neck=dict(in_channels=[32, 64, 128, 256]), test_cfg=dict(rcnn=dict(score_thr=0)))
randomness = dict(seed=3)
'''


def command(folder, *arguments):
    files = ['--tables', str(folder / 'tables.yml'), '--out', str(folder / 'out')]
    return ['shapes', *files, '--device', 'cpu', *arguments]


def read_lines(folder):
    return [json.loads(line) for line in (folder / 'out' / 'results.jsonl').read_text().splitlines()]


def sample_result(row, table='table7', schedule='full', setting=None, measured=None, data='data/',
                  date='2026-01-01T00:00:00', **changed):
    run = dict(date=date, commit='0123456789 dirty', version='0', torch='2', device='GPU', devices=1, seconds=60.0)
    values = dict(table=table, row=row.name, model=row.model, split=row.split, setting=setting, config=row.config,
                  changes=row.changes, config_hash='0', schedule=schedule, from_scratch=False, options=[], data=data,
                  seed=None, batch_size=16, recipe_batch_size=16, train=TrainingRecord(**run), test=RunRecord(**run),
                  measured=measured or {}, paper={})
    return Result(**{**values, **changed})
