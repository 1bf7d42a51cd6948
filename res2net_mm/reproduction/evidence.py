"""What ``evidence.py`` does: Res2Net beside ResNet, at equal cost and with several seeds, on data for anyone.

Two sets of small images: handwritten digits, which scikit-learn ships, and generated shapes of all sizes. Every run is
one of ``reproduce``, so it is trained once, goes on where it stopped, and leaves a line in a results file.
"""
import argparse
import os
import shutil
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

from ..cli.arguments import device_argument
from ..datasets.digits import write_digits
from ..datasets.shapes import write_sizes
from ..utils.config import find_config, load_config
from . import runs as reproduce
from . import tables as paper

TABLES = Path(__file__).with_name('evidence.yml')


def main(argv=None):
    """Run what is missing, and write the report: the command ``tools/misc/evidence.py``."""
    parser = argparse.ArgumentParser(description='Train Res2Net and ResNet twins on two small sets of images with '
                                     'several seeds, and write the mean and the spread of their accuracies.')
    parser.add_argument('--seeds', type=int, default=3, metavar='N', help='runs of every config (3)')
    parser.add_argument('--schedule', choices=list(reproduce.SCHEDULES), default='full',
                        help='full: the configs as they are; short: a tenth; smoke: a few iterations (full)')
    device_argument(parser)
    parser.add_argument('--data-only', action='store_true', help='make the data and stop')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/evidence'), metavar='DIR',
                        help='where data and runs go (work_dirs/evidence)')
    parser.add_argument('--report', type=Path, default=Path('docs/results/evidence.md'), metavar='FILE.md',
                        help='the report; the figure goes beside it (docs/results/evidence.md)')
    args = parser.parse_args(argv)
    if args.seeds < 2:
        parser.error(f'argument --seeds: {args.seeds} must be at least 2, or there is no spread')

    for name, write in DATA.items():
        write_once(args.out / 'data' / name, write)
    if args.data_only:
        return
    for seed in range(args.seeds):
        for name in DATA:
            reproduce.main([
                name, '--tables', str(TABLES), '--data', str(args.out / 'data' / name), '--out', str(args.out / 'runs'),
                '--schedule', args.schedule, '--stop-on-error', '--cfg-options', f'randomness.seed={seed}',
                *(['--device', args.device] if args.device else [])])
    results = paper.read_results(args.out / 'runs' / 'results.jsonl')
    experiments = summarise(results, args.schedule, args.seeds)
    args.report.parent.mkdir(parents=True, exist_ok=True)
    draw(experiments, args.report.with_suffix('.png'))
    args.report.write_text(report(experiments, args), encoding='utf-8')
    print(f'Wrote {args.report} and {args.report.with_suffix(".png")}')


# The data: image folders train/CLASS and val/CLASS, as mmpretrain's CustomDataset reads them.


def write_once(root, write):
    """Have ``write`` make a folder, unless it is there; never half of one."""
    if root.is_dir():
        return
    print(f'Making {root}', flush=True)
    unfinished = root.with_name(f'.{root.name}.unfinished')
    shutil.rmtree(unfinished, ignore_errors=True)
    write(unfinished)
    os.replace(unfinished, root)


DATA = {'digits': write_digits, 'sizes': write_sizes}  # and the tables of evidence.yml that are run

# The report.


def summarise(results, schedule, seeds):
    """The newest result of every row and seed.

    Args:
        results (list[dict]): Lines of the results file.
        schedule (str): Only runs of this schedule count.
        seeds (int): Only the seeds 0 to ``seeds`` - 1 count.

    Returns:
        list[tuple[dict, list[dict], list[float]]]: For every row of the tables ``DATA`` that has a result: the row, its
        results and their accuracies in %, by seed.
    """
    experiments, tables = [], paper.read_tables(TABLES)
    for table in map(tables.get, DATA):
        for row in table['rows'].values():
            mine = [result for result in results if paper.is_of(result, row)
                    and result['schedule'] == schedule and result['seed'] in range(seeds)]
            by_seed = {result['seed']: result for result in sorted(mine, key=lambda result: result['test']['date'])}
            runs = [by_seed[seed] for seed in sorted(by_seed)]
            if runs:
                row = dict(row, title=table['title'])
                experiments.append((row, runs, [run['measured']['top1'] for run in runs]))
    return experiments


def cost(config):
    """Parameters and multiply-adds of a config's model at the size of its images."""
    from ..models.complexity import count
    cfg = load_config(find_config(config))
    return count(cfg.model.backbone, cfg.image_size, cfg.model.head.num_classes)


REPORT = """# Res2Net beside ResNet, without ImageNet

<!-- python tools/misc/evidence.py --seeds {seeds} -->

The paper's classification results need ImageNet or CIFAR-100. These two experiments need nothing: handwritten digits
that scikit-learn ships (1797 real images of 8 x 8 pixels, 599 of them held out), and generated shapes whose size
varies by a factor of 8 (2400 to train, 2000 held out). Res2Net-26 and ResNet-26 have multiply-adds that differ by less
than 3 % and the same recipe (`configs/_base_/small_images.py`).{caution}

Accuracy in % on the held-out images, after the last epoch:

{rows}

{gains}

The spread is the standard deviation over the seeds, which are the initial weights and the order of the images; data and
split are the same in all runs.

![Accuracy of every run]({figure})

Measured with `python tools/misc/evidence.py --seeds {seeds}`: {provenance}."""


def report(experiments, args):
    """Return the report as Markdown."""
    lines = ['| data | model | M parameters | M multiply-adds | by seed | mean ± spread |', '|---|---|---|---|---|---|']
    found = {}
    for row, _, accuracies in experiments:
        params, macs = cost(row['config'])
        each = ', '.join(f'{accuracy:.2f}' for accuracy in accuracies)
        lines.append(f'| {row["title"]} | {row["model"]} | {params / 1e6:.2f} | {macs / 1e6:.1f} | {each} | '
                     f'{mean(accuracies):.2f} ± {stdev(accuracies):.2f} |')
        found[row['table'], row['name']] = row['model'], accuracies
    gains = []
    for row, _, ours in experiments:
        if row['twin']:
            twin, theirs = found[row['table'], row['twin']]
            gain = mean(ours) - mean(theirs)
            error = sqrt(stdev(ours)**2 / len(ours) + stdev(theirs)**2 / len(theirs))
            reading = ': no difference can be told from chance' if abs(gain) < 2 * error else ''
            gains.append(f'* {row["title"]}: {row["model"]} minus {twin} is {gain:+.2f}, with a standard error of '
                         f'{error:.2f}{reading}.')
    runs = [run for _, runs, _ in experiments for run in runs]
    seconds = sum(run['train']['seconds'] + run['test']['seconds'] for run in runs)
    devices = sorted({f'{run["train"]["device"]}, PyTorch {run["train"]["torch"]}, commit {run["train"]["commit"]}'
                      for run in runs})
    dates = sorted(run['test']['date'][:10] for run in runs)
    provenance = (f'{"; ".join(devices)}; {dates[0]}{f" to {dates[-1]}" if dates[-1] != dates[0] else ""}; '
                  f'{len(runs)} runs in {seconds / 60:.0f} minutes')
    caution = '' if args.schedule == 'full' else f'\n\n**Schedule {args.schedule}: a trial, not a result.**'
    return REPORT.format(seeds=args.seeds, rows='\n'.join(lines), gains='\n'.join(gains), caution=caution,
                         figure=args.report.with_suffix('.png').name, provenance=provenance) + '\n'


def draw(experiments, path):
    """Draw every run as a dot, and mean and spread of the runs of a row as a bar with whiskers."""
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    titles = list(dict.fromkeys(row['title'] for row, _, _ in experiments))
    figure, axes = plt.subplots(1, len(titles), figsize=(4 * len(titles), 3.5), layout='constrained', squeeze=False)
    for axis, title in zip(axes[0], titles):
        mine = [(row['model'], accuracies) for row, _, accuracies in experiments if row['title'] == title]
        for x, (_, accuracies) in enumerate(mine):
            colour = f'C{x}'
            axis.errorbar(x, mean(accuracies), stdev(accuracies), fmt='_', markersize=30, capsize=8, color=colour)
            axis.plot([x + 0.25] * len(accuracies), accuracies, 'o', color=colour, alpha=0.6)
        axis.set(title=title, ylabel='accuracy %', xlim=(-0.6, len(mine) - 0.4), xticks=range(len(mine)),
                 xticklabels=[model for model, _ in mine])
    figure.savefig(path, dpi=120)
    plt.close(figure)
