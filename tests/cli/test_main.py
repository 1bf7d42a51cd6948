"""The command res2net-mm: every command behind it is one of tools/ or of python -m, with its own help."""
import subprocess
import sys

import pytest
from helpers import ROOT, expect_failure

from res2net_mm.cli import main as command
from res2net_mm.version import __version__


def test_usage_and_version(capsys):
    for argv in ([], ['--help'], ['-h']):
        assert command.main(argv) == 0
        said = capsys.readouterr().out
        assert 'usage: res2net-mm COMMAND' in said and all(f'  {name} ' in said for name in command.COMMANDS)
    assert command.main(['--version']) == 0 and capsys.readouterr().out == f'res2net_mm {__version__}\n'
    expect_failure(capsys, command.main, ['tarin'], r"no command 'tarin'; did you mean train\? there are train, test, ")


@pytest.mark.slow
@pytest.mark.parametrize('name', command.COMMANDS)
def test_every_command_helps(name):
    """Without a toolbox, and under its name."""
    if name == 'doctor':  # has no arguments
        return
    ran = subprocess.run([sys.executable, '-c', f"from res2net_mm.cli.main import main; main(['{name}', '--help'])"],
                         capture_output=True, text=True)
    program = 'python -m res2net_mm.weights' if name == 'weights' else f'res2net-mm {name}'
    assert ran.returncode == 0 and ran.stdout.startswith(f'usage: {program} '), ran.stderr


def test_arguments_and_exit_codes_pass_through(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['x'])
    expect_failure(capsys, command.main, ['prepare-data', 'ecssd', '--from', '/none', '--to', '/none'],
                   'res2net-mm prepare-data: error: ')
    monkeypatch.setattr('res2net_mm.cli.doctor.main', lambda: 1)
    assert command.main(['doctor']) == 1


def test_every_tool_for_users_is_among_them():
    modules = {module for module, _ in command.COMMANDS.values()}
    tools = {path.stem for folder in ('', 'model_converters') for path in (ROOT / 'tools' / folder).glob('*.py')}
    assert tools <= modules
