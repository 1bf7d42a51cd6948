"""``tools/dev/paddle_parity.py``: compare our Res2Nets with PaddleClas's own code, for the same random weights.

It runs PaddleClas in an interpreter of its own, where its requirements do not meet ours:

    python -m venv PADDLE
    PADDLE/bin/pip install paddlepaddle
    PADDLE/bin/pip install --no-deps paddleclas
    tools/dev/paddle_parity.py --python PADDLE/bin/python
"""
from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ..utils.errors import UserError
from ..utils.text import markdown_table
from .command import run_command


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        argv (Sequence[str] | None): Its arguments. Defaults to None: those of the process.
    """
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--python', default=sys.executable, help='the interpreter with paddlepaddle and paddleclas')
    run_command(run_parity, parser.parse_args(argv))


def run_parity(args: Namespace) -> None:
    """Compare all variants and print the table.

    Raises:
        UserError: If an output differs by more than rounding.
    """
    from ..analysis.paddle_parity import OUTPUTS, TOLERANCE, VARIANTS, compare_with_paddle, parity_table
    results = []
    for variant in VARIANTS:
        with TemporaryDirectory() as folder:
            results.append(compare_with_paddle(variant, args.python, Path(folder)))
    print(markdown_table(('relative error', *OUTPUTS, 'stage1 of another function'), parity_table(results)))
    wrong = [result.variant.name for result in results if not result.holds]
    if wrong:
        raise UserError(f'more than {TOLERANCE} in {", ".join(wrong)}')
