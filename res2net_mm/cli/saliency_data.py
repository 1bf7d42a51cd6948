"""Check folders of saliency sets: the command ``tools/misc/saliency_data.py``."""
from __future__ import annotations

import argparse
from typing import Sequence

from ..datasets.checks import BadDataError
from ..datasets.saliency_folders import TRAINING_SETS, SetReport, check_set, choose_sets, find_duplicates
from ..utils.text import shorten


def main(argv: Sequence[str] | None = None) -> None:
    """Check sets of images and masks, and print what must be mended.

    Args:
        argv (Sequence[str] | None): The arguments. Defaults to None, those of the process.
    """
    parser = argparse.ArgumentParser(
        description='Check sets of images and masks before training: pairs, sizes, values, and images for training '
        'that are also in a test set. Exit code 1 if something must be mended.')
    parser.add_argument('root', help='the folder of the sets')
    parser.add_argument('--train', nargs='+', metavar='SET[:LIST]',
                        help='sets to train on; LIST is a file in the folder of the set with the names of some of its '
                        f'images ({", ".join(TRAINING_SETS)}, if they are there)')
    parser.add_argument('--test', nargs='+', metavar='SET[:LIST]', help='sets to test on (all others)')
    args = parser.parse_args(argv)
    try:
        train, test = choose_sets(args.root, args.train, args.test)
        reports = {entry: check_set(args.root, entry) for entry in train + test}
    except BadDataError as error:
        parser.exit(1, f'{parser.prog}: error: {error}\n')
    problems = sum(print_report(report) for report in reports.values())
    for trained in train:
        for tested in test:
            duplicates = find_duplicates(reports[trained].images, reports[tested].images, decoded=True)
            if duplicates:
                problems += 1
                print(f'PROBLEM: {len(duplicates)} images of {trained} are also in {tested}: '
                      f'{shorten(f"{image.name} = {copy.name}" for image, copy in duplicates)}')
    if problems:
        parser.exit(1, f'Problems: {problems}\n')
    print('No problems')


def print_report(report: SetReport) -> int:
    """Print what a look at a set has found; return the number of kinds of problems."""
    print(f'{report.entry}: {report.num_pairs} images in {report.image_folder}, masks in {report.mask_folder}')
    for label, findings in (('PROBLEM', report.problems), ('note', report.notes)):
        for kind, files in findings.items():
            print(f'  {label}: {len(files)} {kind}: {shorten(files)}')
    return len(report.problems)
