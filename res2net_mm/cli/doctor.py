"""``python -m res2net_mm.doctor``: print what is installed, what is wrong, and the commands that mend it."""
from __future__ import annotations

import sys

from .. import doctor
from ..version import __version__


def main() -> int:
    """Print the report.

    Returns:
        int: The exit code: 0 if every task whose packages are installed will run, else 1.
    """
    diagnosis = doctor.diagnose()
    print(f'res2net_mm {__version__}, Python {sys.version.split()[0]}\n')
    for name, outcome in diagnosis.outcomes.items():
        print(f'  {name:<14}{outcome.status:<8}{outcome.message}')
    for pair in diagnosis.clashes:
        print(f'  {pair[0]:<14}FAILED  {" and ".join(pair)} overwrite each other')

    print()
    for task, lacking in diagnosis.tasks.items():
        if lacking is None:
            print(f"  {task:<14}-       {doctor.PIP} 'res2net_mm[{task}]' adds it")
        else:
            print(f'  {task:<14}{"FAILS   needs " + ", ".join(lacking) if lacking else "ready"}')

    if diagnosis.mends:
        print('\nTo mend, in this order; then run this again:')
        for name, command in diagnosis.mends.items():
            print(f'  {name}:\n    {command}')
    return 0 if diagnosis.healthy else 1
