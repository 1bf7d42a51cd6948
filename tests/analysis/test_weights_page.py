"""docs/weights.md: made by this code."""
from helpers import ROOT

from res2net_mm.analysis.weights_page import weights_page


def test_documentation_is_the_table():
    page = ROOT / 'docs' / 'weights.md'
    command = 'python -m res2net_mm.analysis.weights_page > docs/weights.md'
    assert page.read_text(encoding='utf-8') == weights_page() + '\n', command
