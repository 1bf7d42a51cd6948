"""Sphinx's settings: ``make docs`` builds the site of the repository's own Markdown pages into build/site.

The source is the root of the repository (``sphinx-build -c docs . build/site``), so that README.md, CONTRIBUTING.md and
the READMEs of configs/ are pages too, and every link works here as it does on a code host.
"""
from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Iterator

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from res2net_mm import __version__

ROOT = Path(__file__).resolve().parents[1]
LEXERS = {'.py': 'python', '.yml': 'yaml', '.yaml': 'yaml', '.json': 'json',
          '.sh': 'bash', '.cpp': 'cpp', '.toml': 'toml'}
LONG = 24  # characters of a cell of a table that may take several lines

project = 'res2net_mm'
release = version = __version__
copyright = 'the res2net_mm contributors; Apache-2.0'  # noqa: A001, the name is Sphinx's
root_doc = 'docs/index'
include_patterns = ['docs/**.md', 'configs/**/README.md', 'demo/README.md', 'notebooks/README.md', 'README*.md',
                    'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md', 'CODE_OF_CONDUCT.md']
exclude_patterns = ['.*', 'build', 'dist', 'res2net_mm', 'tests', 'tools', 'work_dirs', 'requirements']
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode', 'sphinx_copybutton']

# Markdown as a code host reads it: headings have anchors, and addresses are links, but file names such as README.md,
# whose ending is a top-level domain, are not.
myst_heading_anchors = 4
myst_enable_extensions = ['linkify']
myst_linkify_fuzzy_links = False
highlight_language = 'bash'  # of indented blocks, which are commands; all others name their language
copybutton_prompt_text = r'>>> |\.\.\. |\$ '
copybutton_prompt_is_regexp = True

# Types stand in the docstrings; a second time, in the signature, they would make it unreadable.
autodoc_typehints = 'none'
autodoc_member_order = 'bysource'
toc_object_entries_show_parents = 'hide'
autodoc_default_options = {'members': True, 'show-inheritance': True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Types of other packages: their inventories are on the web, and the site is built without a network.
nitpick_ignore_regex = [
    ('py:.*', r'(torch|nn|np|numpy|mmengine|mmcv|mmdet|mmseg|mmpose|mmpretrain)\..*'),
    ('py:class', 'Tensor|Path|DataLoader|Compose|Evaluator|BaseDataset|BaseMetric|BaseDataElement|SegDataSample'),
]

html_theme = 'furo'
html_title = f'res2net_mm {__version__}'
html_static_path = ['static']
html_css_files = ['site.css']
html_copy_source = False
# The workflow knows the repository, and the pages link to it then.
if 'GITHUB_REPOSITORY' in os.environ:
    html_theme_options = {
        'source_repository': f"{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}",
        'source_branch': 'main',
    }


class LinksIntoRepository(SphinxTransform):
    """Links of pages to what is no page: a folder is its README, and a text file gets a page that shows it."""

    default_priority = 500

    def apply(self, **_: Any) -> None:
        """Change the links of one page, and note in its metadata which files it links to."""
        folder = ROOT / Path(self.env.docname).parent
        shown = self.env.metadata[self.env.docname].setdefault('shown_files', [])
        for link in list(self.document.findall(addnodes.pending_xref)):
            readme = (folder / link['reftarget'] / 'README.md').resolve()
            if link['reftype'] == 'myst' and link['refdomain'] is None and readme.is_file():
                link.attributes.update(refdomain='doc', reftarget=self.env.path2doc(str(readme)), reftargetid=None)
        for link in list(self.document.findall(addnodes.download_reference)):
            file = (folder / link['reftarget']).resolve()
            if file.is_file() and file.is_relative_to(ROOT) and b'\0' not in file.read_bytes():
                name = file.relative_to(ROOT).as_posix()
                shown.append(name)
                address = self.app.builder.get_relative_uri(self.env.docname, f'source/{name}')
                link.replace_self(nodes.reference('', '', *link.children, refuri=address, internal=True))


def mark_long_cells(_: Sphinx, document: nodes.document) -> None:
    """Mark the cells of tables that hold text: site.css keeps their columns from becoming as narrow as a word."""
    for cell in document.findall(nodes.entry):
        if len(cell.astext()) > LONG:
            cell['classes'].append('long')


def pages_of_shown_files(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the pages of the text files that pages link to."""
    for name in sorted({name for fields in app.env.metadata.values() for name in fields.get('shown_files', [])}):
        text = (ROOT / name).read_text(encoding='utf-8')
        body = app.builder.highlighter.highlight_block(text, LEXERS.get(Path(name).suffix, 'none'))
        yield f'source/{name}', {'title': name, 'body': f'<h1 class="path">{name}</h1>\n{body}'}, 'page.html'


def mend_links_to_reference(app: Sphinx, page: str, _: str, context: dict[str, Any], __: Any) -> None:
    """Give the links from the source of a module to the reference the names that stand there.

    Some names of a module are public in a package above it, others in the module itself; viewcode takes for all of them
    what holds for the first one.
    """
    if not page.startswith('_modules/res2net_mm/'):
        return
    module, known = page.split('/')[1:], app.env.domains.python_domain.objects
    packages = ['.'.join(module[:length]) for length in range(1, len(module) + 1)]

    def name_in_reference(match: re.Match[str]) -> str:
        parts = match[2].split('.')
        names = (f'{package}.{".".join(parts[start:])}' for start in range(1, len(parts)) for package in packages)
        return match[1] + next((name for name in [match[2], *names] if name in known), match[2])

    context['body'] = re.sub(r'(class="viewcode-back" href="[^"#]*#)([^"]+)', name_in_reference, context['body'])


def write_redirect(app: Sphinx, error: Exception | None) -> None:
    """Have the root of the site lead to its home."""
    if error is None and app.builder.name == 'html':
        (Path(app.outdir) / 'index.html').write_text(
            '<!doctype html>\n<meta charset="utf-8">\n<title>res2net_mm</title>\n'
            '<meta http-equiv="refresh" content="0; url=docs/index.html">\n<a href="docs/index.html">res2net_mm</a>\n',
            encoding='utf-8')


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_transform(LinksIntoRepository)
    app.connect('doctree-read', mark_long_cells)
    app.connect('html-collect-pages', pages_of_shown_files)
    app.connect('html-page-context', mend_links_to_reference)
    app.connect('build-finished', write_redirect)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
