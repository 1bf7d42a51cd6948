"""The site of docs/: it builds without warnings, its links resolve, and the diagrams are as they are drawn."""
import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from helpers import ROOT

NEEDED = ('sphinx', 'myst_parser', 'furo', 'sphinx_copybutton', 'linkify_it')
PARENTS = ('docs', 'configs')


class Page(HTMLParser):
    """The anchors, links and files of a page, and the links of its table of contents."""

    def __init__(self, file):
        super().__init__()
        self.anchors, self.links, self.contents = set(), set(), set()
        self.feed(file.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors |= {attributes[name] for name in ('id', 'name') if attributes.get(name)}
        address = attributes.get('href') or attributes.get('src')
        if address and not urlsplit(address).scheme and not urlsplit(address).netloc:
            self.links.add(address)
            if tag == 'a' and 'internal' in (attributes.get('class') or '').split():
                self.contents.add(unquote(urlsplit(address).path))


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """The folder of the built site."""
    for name in NEEDED:
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp('site')
    command = [sys.executable, '-m', 'sphinx', '-c', ROOT / 'docs', '-b', 'html', '-d', folder / 'doctrees', '-q', '-E',
               '-W', '--keep-going', '-n', ROOT, folder / 'html']
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])}
    built = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-4000:]
    return folder / 'html'


@pytest.fixture(scope='module')
def pages(site):
    """The pages of the site, by their resolved paths."""
    return {file.resolve(): Page(file) for file in site.rglob('*.html') if '_static' not in file.parts}


def broken_links(pages):
    """The links within the site that lead nowhere, as 'page: link'."""
    broken = []
    for file, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / 'index.html' if target.is_dir() else target
            known = target in pages and parts.fragment
            if not target.is_file() or known and unquote(parts.fragment) not in pages[target].anchors:
                broken.append(f'{file.name}: {link}')
    return broken


@pytest.mark.slow
def test_internal_links_resolve(pages):
    assert len(pages) > 60
    assert sum(len(page.links) for page in pages.values()) > 1000
    assert not broken_links(pages)


@pytest.mark.slow
def test_every_page_is_in_the_table_of_contents(site, pages):
    sources = [file for parent in PARENTS for file in (ROOT / parent).rglob('*.md')]
    expected = {file.relative_to(ROOT).with_suffix('.html').as_posix() for file in [*sources, *ROOT.glob('*.md')]}
    home = site / 'docs' / 'index.html'
    links = pages[home.resolve()].contents
    listed = {os.path.relpath((home.parent / link).resolve(), site.resolve()) for link in links}
    assert expected - {'docs/index.html'} <= listed


@pytest.mark.slow
def test_links_to_files_of_the_repository_show_them(site, pages):
    shown = site / 'source' / 'configs' / 'faster_rcnn_r2n50_coco.py.html'
    assert '_base_' in shown.read_text(encoding='utf-8')
    detection = pages[(site / 'configs' / 'detection' / 'README.html').resolve()]
    assert '../../source/configs/faster_rcnn_r2n50_coco.py.html' in detection.links
    assert 'url=docs/index.html' in (site / 'index.html').read_text(encoding='utf-8')


@pytest.mark.slow
def test_the_reference_shows_the_source_of_what_it_documents(site, pages):
    file = (site / 'docs' / 'reference.html').resolve()
    text = file.read_text(encoding='utf-8')
    kind = 'function|class|exception|method'
    entries = re.findall(rf'<dl class="py (?:{kind})">\s*<dt class="sig[^"]*" id="([^"]+)">(.*?)</dt>', text, re.DOTALL)
    assert len(entries) > 100
    assert not [name for name, heading in entries if 'viewcode-link' not in heading]
    assert '../_modules/res2net_mm/models/backbones/res2net.html#Res2Net' in pages[file].links


def test_broken_links_are_found(tmp_path):
    (tmp_path / 'a.html').write_text('<a href="b.html#here">1</a><a href="b.html#gone">2</a><a href="c.html">3</a>'
                                     '<img src="d.png"><a href="https://example.org/e">4</a><a href="#nowhere">5</a>')
    (tmp_path / 'b.html').write_text('<h1 id="here">b</h1>')
    found = broken_links({file.resolve(): Page(file) for file in tmp_path.glob('*.html')})
    assert found == ['a.html: #nowhere', 'a.html: b.html#gone', 'a.html: c.html', 'a.html: d.png']


def drawing_script():
    spec = importlib.util.spec_from_file_location('draw_diagrams', ROOT / 'docs' / 'diagrams' / 'draw.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_diagrams_are_as_the_script_draws_them():
    folder = ROOT / 'docs' / 'diagrams'
    drawn = {name: draw() for name, draw in drawing_script().DIAGRAMS.items()}
    assert drawn == {file.name: file.read_text(encoding='utf-8') for file in Path(folder).glob('*.svg')}
    text = (ROOT / 'docs' / 'backbones.md').read_text(encoding='utf-8')
    assert all(f'](diagrams/{name})' in text for name in drawn)
