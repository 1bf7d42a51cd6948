"""Every command that a page or a config shows is one that the tool takes."""
import argparse
import re
import runpy
from importlib import import_module

import pytest
from documented import documented_commands
from helpers import ROOT

from res2net_mm.cli.main import COMMANDS as SUBCOMMANDS
from res2net_mm.utils.config import find_config

COMMANDS = documented_commands()
MAKE_TARGETS = re.search(r'^\.PHONY: (.*)$', (ROOT / 'Makefile').read_text(), re.MULTILINE)[1].split()
SHELL_TOOLS = [command for command in COMMANDS if command.words[0].endswith('.sh')]
# Placeholders of the pages, where a tool wants a number or one of several words.
PLACEHOLDERS = {'N': '1', 'PROCESSES': '2', 'LAYOUT': 'timm', 'ID': 'mit', 'BACKEND': 'native'}


class ParsedError(Exception):
    """What ends a tool once it has taken its arguments apart."""


def parse_alone(monkeypatch):
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser, *args, **kwargs):
        raise ParsedError(parse(parser, *args, **kwargs))

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', parse_and_stop)


def entry(words):
    """The main() of a tool of ours, and its arguments; None for other programs."""
    if words[0] == '-m' and words[1].startswith('res2net_mm'):
        module = {'res2net_mm.weights': 'res2net_mm.cli.weights'}.get(words[1], words[1])
        return (getattr(import_module(module), 'main', None), words[2:])
    if words[0] == 'res2net-mm':
        return import_module(f'res2net_mm.cli.{SUBCOMMANDS[words[1]][0]}').main, words[2:]
    if words[0].startswith('tools/') and words[0].endswith('.py'):
        return runpy.run_path(str(ROOT / words[0]), run_name='imported')['main'], words[1:]
    return None, []


def usage_words(words):
    """The arguments of a line of usage such as `CONFIG [--resume] [onnx | openvino]`: all that may be left out, too."""
    text = ' '.join(words).replace('...', '').replace('…', '')
    text = re.sub(r'(\S+)(?: \| \S+?)+(?=\]| |$)', r'\1', text)
    words = [word.lstrip('[') for word in text.split()]
    words = [word[:len(word) - max(0, word.count(']') - word.count('['))] for word in words]
    return [PLACEHOLDERS.get(word, word) for word in words if word]


OURS = [command for command in COMMANDS
        if command.words[0].startswith(('tools/', 'res2net-mm')) or command.words[:2][-1].startswith('res2net_mm')]
PYTHON_TOOLS = [command for command in OURS if command not in SHELL_TOOLS and '--help' not in command.words]


@pytest.mark.parametrize('command', PYTHON_TOOLS, ids=str)
def test_the_tool_takes_its_arguments(command, monkeypatch, capsys):
    main, argv = entry(command.words)
    if main is None or main.__code__.co_argcount == 0:  # it takes none
        assert not argv
        return
    parse_alone(monkeypatch)
    monkeypatch.setattr('sys.argv', ['tool', *usage_words(argv)])
    try:
        with pytest.raises(ParsedError):
            main()
    except SystemExit:
        pytest.fail(capsys.readouterr().err)


@pytest.mark.parametrize('command', OURS, ids=str)
def test_its_configs_exist(command):
    for word in command.words[1:]:
        if word.startswith('configs/') and word.endswith('.py') and '/NAME' not in word:
            assert (ROOT / word).is_file()
        elif re.fullmatch(r'\w+_(coco|voc12aug|msrab)\.py', word):
            find_config(word)


@pytest.mark.parametrize('command', [command for command in COMMANDS if command.words[0] == 'make'], ids=str)
def test_make_has_the_target(command):
    assert command.words[1] in MAKE_TARGETS


def test_commands_are_found():
    """Of every kind; and one that a tool does not take is seen."""
    assert len(COMMANDS) > 250 and len(PYTHON_TOOLS) > 150 and len(SHELL_TOOLS) > 20
    assert usage_words(['CONFIG', '[--accelerate', '[onnxruntime', '|', 'openvino]]', 'IMAGE', '...', 'x=[1,2]']) == [
        'CONFIG', '--accelerate', 'onnxruntime', 'IMAGE', 'x=[1,2]']
