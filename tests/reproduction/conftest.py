"""A small table in a folder, and runs of it without a training."""
import json
import subprocess
from pathlib import Path

import pytest
from result_cases import TABLE, TINY

from res2net_mm.utils import provenance as machine


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'tables.yml').write_text(TABLE.format(folder=tmp_path))
    (tmp_path / 'tiny.py').write_text(TINY)
    return tmp_path


@pytest.fixture
def played(folder, monkeypatch):
    """The commands that were run; what they leave is a checkpoint and a log of a test."""
    (folder / 'missing.py').write_text(TINY)
    commands = []

    def play(command):
        commands.append(command)
        work_dir = Path(command[command.index('--work-dir') + 1])
        if 'train.py' in str(command):
            if played.exit_codes:
                code = played.exit_codes.pop(0)
                if code:
                    return code
            (work_dir / 'last_checkpoint').write_text(str(work_dir / 'iter_600.pth'))
        else:
            (work_dir / '20260101_000000').mkdir(parents=True, exist_ok=True)
            (work_dir / '20260101_000000' / '20260101_000000.json').write_text(json.dumps(played.log))
        return 0

    class Played:
        exit_codes = []
        log = {'coco/bbox_mAP': 0.345, 'coco/bbox_mAP_50': 0.5, 'coco/bbox_mAP_s': -1, 'time': 0.1}

    played = Played()
    played.commands = commands
    monkeypatch.setattr(subprocess, 'call', play)
    monkeypatch.setattr(machine, 'probe_torch', lambda device: ('2.0', 'a processor'))
    return played
