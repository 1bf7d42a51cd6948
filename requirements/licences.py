#!/usr/bin/env python3
"""Print the licence of every package in requirements/lock.txt, as the installed packages state it.

    .venv/bin/python requirements/licences.py

Nothing of them is shipped with this package, which is under Apache-2.0 and imports them. Listed at the end are
licences that would reach over to it or to its users (GPL, AGPL, SSPL, non-commercial) and packages that state none; the
exit code is 1 then. Libraries inside of wheels (such as FFmpeg in OpenCV's, LGPL-2.1) are not in the metadata, and not
seen.
"""
from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

LOCK = Path(__file__).with_name('lock.txt')
# Of packages whose metadata has no field that can be read: what their LICENSE files say. cuda-toolkit holds no files;
# it requires NVIDIA's packages, which are under NVIDIA's licence.
STATED_ELSEWHERE = {'cuda-toolkit': 'LicenseRef-NVIDIA-Proprietary', 'onedl-mmengine': 'Apache-2.0',
                    'openmim': 'Apache-2.0', 'xtcocotools': 'MIT'}
KNOWN = re.compile('MIT|BSD|Apache|MPL|Mozilla|PSF|Python Software Foundation|ISC|Unlicense|LGPL|NVIDIA', re.IGNORECASE)
# GNU's GPL and AGPL, but neither the LGPL nor a GPL with the exception for libraries that compilers link.
DENIED = re.compile(r'(?<![L\w])A?GPL(?!.*exception)|(?<!Lesser )(?<!Library or Lesser )General Public License|'
                    'SSPL|Server Side Public|BUSL|Business Source|Non-?Commercial|-NC\\b', re.IGNORECASE)


def licence_of(name: str) -> str:
    """The licence of an installed package: an SPDX expression, a short text or classifiers; '' if there is none.

    Raises:
        PackageNotFoundError: If the package is not installed.
    """
    said = metadata(name)
    title = (said.get('License') or '').strip().partition('\n')[0]  # often the whole text follows
    stated = [said.get('License-Expression') or '']
    stated += [line.rpartition(' :: ')[2] for line in said.get_all('Classifier') or [] if line.startswith('License')]
    stated += [title]
    return STATED_ELSEWHERE.get(name) or next((one for one in stated if KNOWN.search(one) or DENIED.search(one)), '')


def objection(licence: str) -> str:
    """What is to be said against a licence, '' if nothing."""
    if DENIED.search(licence):
        return 'conflicts with Apache-2.0'
    return '' if KNOWN.search(licence) else 'is not known'


def main() -> int:
    objections = []
    for name, version in re.findall(r'^([a-z0-9.-]+)==(\S+)', LOCK.read_text(encoding='utf-8'), re.MULTILINE):
        try:
            licence = licence_of(name)
        except PackageNotFoundError:
            licence = 'not installed here'
        else:
            if objection(licence):
                objections.append(f'{name}: the licence {licence!r} {objection(licence)}')
        print(f'{name:24} {version:14} {licence}')
    print(f'\n{len(objections)} objections', *objections, sep='\n')
    return bool(objections)


if __name__ == '__main__':
    sys.exit(main())
