"""Text for people."""
import pytest

from res2net_mm.utils.text import did_you_mean, markdown_table, number_duplicates, shorten


@pytest.mark.parametrize('name, expected', [
    ('tarin', 'did you mean train?'), ('tst', 'did you mean test?'), ('tests', 'did you mean test or text?'),
    ('quiz', ''), ('', '')])
def test_near_names_are_suggested(name, expected):
    assert did_you_mean(name, ['train', 'test', 'text']) == expected


def test_a_suggestion_tells_each_thing_once_in_its_place():
    told = {'res2net50': 'Res2Net-50', 'res2net5026w4s': 'Res2Net-50', 'res2net101': 'Res2Net-101'}
    assert did_you_mean('res2net5', told, told) == 'did you mean Res2Net-50 or Res2Net-101?'


def test_a_suggestion_goes_into_its_sentence():
    assert did_you_mean('a{b', ['a{bc'], form='; {}') == '; did you mean a{bc?'
    assert did_you_mean('quiz', ['a{bc'], form='; {}') == ''


def test_long_lists_are_shortened():
    assert shorten('abc') == 'a, b, c'
    assert shorten('abcdefg', 2) == 'a, b and 5 more'


def test_names_that_occur_again_are_numbered():
    assert number_duplicates(['cat', 'dog', 'cat']) == ['cat (1)', 'dog', 'cat (2)']


def test_a_table_has_no_empty_column_and_no_emphasis():
    assert markdown_table(['name', 'note', 'value'], [['a*b*', '', 1], ['c', '', 2]]) == (
        '| name | value |\n| --- | --- |\n| a\\*b\\* | 1 |\n| c | 2 |')
