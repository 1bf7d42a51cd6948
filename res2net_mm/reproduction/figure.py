"""The figure of a table whose rows are points of series: accuracy against parameters, as in the paper's Figure 5."""
from statistics import mean, stdev

from . import tables as paper


def draw(name, table, results, kind, folder):
    """Draw the series of a table: its second column against its first, a line for each.

    A point is the mean of its seeds, and has their standard deviation as whiskers if there are several; beside it
    stands what its row changes. Results of other settings, data or options are in panels of their own.

    Args:
        name (str): Name of the table.
        table (dict): A table of :func:`paper.read_tables`.
        results (list[dict]): Lines of a results file.
        kind (str): Only runs of this kind count (:func:`paper.kind`).
        folder (Path): Where to draw.

    Returns:
        Path | None: ``NAME.png``, or ``NAME_KIND.png`` if the kind is not 'full'; None if there is nothing to draw.
    """
    shown = panels(table, [result for result in results if paper.kind(result) == kind])
    if not shown:
        return None
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    x, y = list(table['metrics'].values())[:2]
    figure, axes = plt.subplots(1, len(shown), figsize=(6 * len(shown), 4.5), layout='constrained', squeeze=False)
    for axis, (title, lines) in zip(axes[0], shown.items()):
        for number, (series, points) in enumerate(lines.items()):
            colour = f'C{number}'
            axis.plot([place for place, *_ in points], [mean(heights) for _, heights, _ in points], 'o-', color=colour,
                      label=series)
            for place, heights, label in points:
                axis.annotate(label, (place, mean(heights)), (5, -10), textcoords='offset points', color=colour,
                              fontsize='small')
                if len(heights) > 1:
                    axis.errorbar(place, mean(heights), stdev(heights), capsize=4, color=colour)
        axis.set(xlabel=x['label'], ylabel=y['label'], title=title if len(shown) > 1 else '')
        axis.margins(x=0.08)  # room for the last label
        axis.legend()
    figure.suptitle('\n'.join(filter(None, [table['title'], paper.caution(kind)])), fontsize='medium')
    path = folder / ('_'.join([name, *(kind.replace(',', '').split() if kind != 'full' else [])]) + '.png')
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def panels(table, results):
    """What a figure shows.

    Args:
        table (dict): A table of :func:`paper.read_tables`.
        results (list[dict]): Lines of a results file, all of one kind.

    Returns:
        dict[str, dict[str, list[tuple[float, list[float], str]]]]: By setting, data and options other than the seed:
        the points of every series in the order of x, each with the y of the newest result of every seed, and a label.
    """
    rows = [row for row in table['rows'].values() if row['series']]
    if not rows:
        return {}
    x, y = list(table['metrics'])[:2]
    names = dict.fromkeys(name for row in rows for name in row['series'])
    found = {}
    for row in rows:
        seeds = {}
        for result in sorted(results, key=lambda result: result['test']['date']):
            place, height = result['measured'].get(x), result['measured'].get(y)
            if paper.is_of(result, row) and None not in (place, height):
                seeds.setdefault(conditions(result), {})[result.get('seed')] = place, height
        for each, points in seeds.items():
            lines = found.setdefault(each, {name: [] for name in names})
            places, heights = zip(*points.values())
            label = ' '.join(str(value) for value in row['changes'].values())
            for name in row['series']:
                lines[name].append((places[-1], list(heights), label))
    return {each: {name: sorted(points) for name, points in lines.items()} for each, lines in found.items()}


def conditions(result):
    """What results must share to be in one panel."""
    options = [option for option in result['options'] if not option.startswith('randomness.seed=')]
    return ' '.join(filter(None, [result['setting'], result['data'], *options]))
