"""The Chinese pages show the same code as the English ones and link to the same pages: a change of one is seen."""
import re

import pytest
from helpers import ROOT

PAIRS = [('README.md', 'README_zh-CN.md'), ('docs/get_started.md', 'docs/zh_cn/get_started.md'),
         ('docs/faq.md', 'docs/zh_cn/faq.md')]
IMAGE_OR_LINK = re.compile(r'\]\((?!https?:)([^)#]+)')


def code_blocks(text):
    """The fenced blocks and the indented ones of a page, in their order: lists of lines, the fences included."""
    blocks, block, fenced = [], [], False
    for line in text.splitlines():
        fence = line.startswith('```')
        if fenced or fence or line.startswith('    '):
            block.append(line)
        if fence:
            fenced = not fenced
        if block and not fenced and (fence or not line.startswith('    ')):
            blocks.append(block)
            block = []
    return [*blocks, block] if block else blocks


def test_code_blocks_are_found():
    page = 'Text.\n\n    one\n    two\n\n```python\nx = 1\n\ny = 2\n```\n    three\ntext'
    assert code_blocks(page) == [['    one', '    two'], ['```python', 'x = 1', '', 'y = 2', '```'], ['    three']]


@pytest.mark.parametrize('english, chinese', PAIRS, ids=[chinese for _, chinese in PAIRS])
def test_same_code_and_headings(english, chinese):
    source, translation = ((ROOT / name).read_text(encoding='utf-8') for name in (english, chinese))
    assert code_blocks(translation) == code_blocks(source)
    assert code_blocks(source)
    levels = [re.findall('^#+(?= )', text, re.MULTILINE) for text in (source, translation)]
    assert levels[0] == levels[1]
    assert re.search('[\u4e00-\u9fff]', translation)


@pytest.mark.parametrize('english, chinese', PAIRS, ids=[chinese for _, chinese in PAIRS])
def test_the_translation_links_to_what_the_page_links_to(english, chinese):
    linked = {name: {(ROOT / name).parent.joinpath(link).resolve() for link in
                     IMAGE_OR_LINK.findall((ROOT / name).read_text(encoding='utf-8'))} for name in (english, chinese)}
    translated = {(ROOT / one).resolve(): (ROOT / other).resolve() for one, other in PAIRS}
    wanted = {translated.get(path, path) for path in linked[english]} - {(ROOT / chinese).resolve()}
    assert not wanted - linked[chinese]
    assert (ROOT / english).resolve() in linked[chinese]
