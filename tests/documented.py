"""The commands that the pages and the configs show to readers."""
import re
import shlex
from dataclasses import dataclass

from helpers import CONFIGS, ROOT

PAGES = [*sorted(ROOT.glob('*.md')), *sorted((ROOT / 'docs').rglob('*.md')), *sorted(CONFIGS.rglob('README.md')),
         *sorted((ROOT / 'notebooks').glob('*.md'))]
SHELLS = ('bash', 'sh', 'shell', 'console')
PROGRAMS = re.compile(r'(?:[A-Z_0-9]+=\S*\s+)*'
                      r'(?:(?:\S*/)?(?:python|pip)|tools/|res2net-mm|make|mim|hf|jupytext|torchrun|pytest)\b')


@dataclass(frozen=True)
class Command:
    """A command of a page.

    Attributes:
        page (str): Path of the page in the repository.
        text (str): The command, in one line.
        note (str): The comment behind it, '' if there is none.
    """
    page: str
    text: str
    note: str

    def __str__(self):
        return f'{self.page}: {self.text}'

    @property
    def words(self):
        """The command as the shell takes it apart, without variables and the name of Python."""
        words = shlex.split(self.text)
        while re.fullmatch(r'[A-Z_0-9]+=.*', words[0]):
            words = words[1:]
        return words[1:] if words[0].rpartition('/')[2] == 'python' else words


def documented_commands():
    """All commands of the Markdown pages, and of the configs' docstrings."""
    commands = [command for page in PAGES for command in commands_of(page, page.read_text(encoding='utf-8'))]
    for config in sorted(CONFIGS.rglob('*.py')):
        commands += commands_of(config, config.read_text(encoding='utf-8').split('"""')[1])
    return commands


def commands_of(page, text):
    """The commands in the indented and the fenced blocks of a text."""
    return [step for step in steps_of(page, text) if isinstance(step, Command)]


def steps_of(page, text):
    """What a reader does from the top to the bottom of a page.

    Returns:
        list[Command | tuple[str, str]]: Commands, and files of Python as (name, text), whose name is in their first
        line, or in what is written above: Save this as `name.py`.
    """
    steps, fence, block, name = [], None, [], ''
    for line in text.replace('\\\n', ' ').splitlines():
        if line.startswith('```'):
            if fence == 'python':
                first = re.match(r'# (\w+\.py)$', block[0])
                if first or name:
                    steps.append((first[1] if first else name, '\n'.join(block) + '\n'))
                block, name = [], ''
            fence = line[3:].strip() if fence is None else None
        elif fence == 'python':
            block.append(line)
        elif (line.startswith('    ') if fence is None else fence in SHELLS) and PROGRAMS.match(line.strip()):
            if line.count('"') % 2:  # a program in several lines, such as python -c "
                continue
            words, _, note = line.strip().partition(' # ')
            steps.append(Command(page.relative_to(ROOT).as_posix(), ' '.join(words.split()), note.strip()))
        elif 'Save this as `' in line:
            name = line.partition('Save this as `')[2].partition('`')[0]
    return steps
