"""Checks of the names of classes: those of a config, and how they fit the names in a file."""
from __future__ import annotations

import difflib
import os
from typing import Any, Iterable, Iterator, Sequence

from ...utils.config_types import ancestors, argument_names
from .lists import doubled
from .problems import Problem, list_defects
from .registry import DatasetSettings


def check_class_names(settings: DatasetSettings) -> Iterator[Problem]:
    """Check the names of classes that the config of a dataset gives, in ``metainfo`` or as mmpretrain's ``classes``."""
    metainfo, where = settings.config.get('metainfo'), settings.where
    metainfo = metainfo if isinstance(metainfo, dict) else {}
    bases = ancestors(settings.kind)
    known = not bases.keys().isdisjoint({'mmengine.BaseDataset', 'mmseg.BaseSegDataset'})
    if known and 'classes' in settings.config and 'classes' not in argument_names(settings.kind):
        yield Problem(f'{where}.classes is no argument of {settings.kind.__name__}; write '
                      f'metainfo=dict(classes={example(settings.config["classes"])})')
    if known and 'CLASSES' in metainfo and 'classes' not in metainfo and 'mmpose.BaseCocoStyleDataset' not in bases:
        yield Problem(f'{where}.metainfo.CLASSES is not read; write metainfo=dict(classes='
                      f'{example(metainfo["CLASSES"])})')
    if metainfo.get('classes') is not None:
        yield from check_names(f'{where}.metainfo.classes', metainfo['classes'])
    elif settings.config.get('classes') is not None and 'classes' in argument_names(settings.kind):
        yield from check_names(f'{where}.classes', settings.config['classes'])


def check_names(key: str, names: Any) -> Iterator[Problem]:
    """Check a list of names of classes, or the file of them.

    Args:
        key (str): The key of the config that they stand under.
        names (Any): What the config has there. mmengine takes a text for the name of a file with a name a line.
    """
    wanted = f'write metainfo=dict(classes={example(names)})'
    if isinstance(names, str):
        if not os.path.isfile(names):
            yield Problem(f'{key} is the text {names!r}, and no file of that name exists; {wanted}')
            return
        with open(names, encoding='utf-8', errors='replace') as file:
            names, key = file.read().splitlines(), f'{names}, which is {key},'
    if not isinstance(names, (list, tuple)):
        yield Problem(f'{key} is {names!r:.60}, and no list of names; {wanted}')
        return
    if not names:
        yield Problem(f'{key} has no name; {wanted}')
    bad = [repr(name) for name in names if not isinstance(name, str) or not name.strip()]
    if bad:
        yield Problem(f'{key} has {", ".join(bad[:5])} among its names; a name must be a text that is not empty')
        return
    if doubled(list(names)):
        yield Problem(f'{key} has names more than once: {", ".join(doubled(list(names)))}; a class has one')
    for pair in twins(names):
        yield Problem(f'{key} has {" and ".join(map(repr, pair))}, which differ only by case or blanks; they are '
                      'different classes', fatal=False)


def example(names: Any) -> str:
    """How a config writes names as what was probably meant."""
    if isinstance(names, (list, tuple)) and names and all(isinstance(name, str) for name in names):
        return repr(tuple(names)) if len(names) <= 20 else f'({names[0]!r}, {names[1]!r}, ...)'
    if isinstance(names, str) and os.path.sep not in names and '.' not in names:
        return repr(tuple(part.strip() for part in names.split(',') if part.strip())).replace(',)', ', )')
    return "('a', 'b')"


def plain(name: str) -> str:
    """A name without what people write in different ways: case, blanks, hyphens and underscores."""
    return ''.join(letter for letter in name.casefold() if not letter.isspace() and letter not in '-_')


def twins(names: Iterable[str]) -> list[list[str]]:
    """The groups of different names that differ only by case, blanks, hyphens or underscores."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(plain(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The name among others that is most like a name, or None."""
    by_plain = {plain(other): other for other in names}
    found = difflib.get_close_matches(plain(name), by_plain, n=1, cutoff=0.75)
    return by_plain[found[0]] if found else None


def list_unknown(title: str, names: Iterable[str], known: Sequence[str]) -> Iterator[Problem]:
    """One problem that lists names that are not known, each with the nearest one that is."""
    lines = []
    for name in names:
        near = nearest(name, known)
        lines.append(f'{name!r}; the nearest is {near!r}' if near else repr(name))
    yield from list_defects(title, lines)
