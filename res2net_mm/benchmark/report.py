"""What ``tools/analysis_tools/benchmark.py`` makes of its rows: answers, a table, a page and a figure."""
from ..utils.text import console, markdown_table
from .contenders import BASELINE, OURS, PEERS, is_training
from .timing import MEASURED, ratio, spread

# 1. Answers to what is asked of a model.


COMPILERS = ('compile', 'onnxruntime', 'openvino')  # what makes other packages' models faster
BEST = "Inference at its best, beside timm's model at its best (torch.compile, ONNX Runtime, OpenVINO); aim: 1.00"
ALONE = "Inference by PyTorch alone, `accelerate`, beside other packages' eager models; aim: 0.71"
CLAIM = "At its best, beside ResNet-50 at its best; aim: the paper's ratio"
STEP = "A training step, beside other packages' `train`; aim: 0.80 on a CPU, 0.67 on a GPU"
MEMORY = 'Peak memory of such a step; aim: 0.70'


def goals(rows):
    """Answer the questions above, as far as what they compare was timed.

    Args:
        rows (list[dict]): Rows of ``benchmark.measure``.

    Returns:
        dict[str, list[str]]: For every question that has an answer, a sentence a batch size and preset; ratios of times
        are medians over the rounds.
    """
    answers = {}

    def answer(question, mine, others, share, note=''):
        others = [other for other in others if other]
        if mine and others:
            shares = ', '.join(f'{share(mine, other):.2f} of {name(other, mine)}' for other in others)
            line = f'batch {mine["batch_size"]}: {mine["preset"]} ({mine["path"]}) takes {shares}{note}'
            answers.setdefault(question, []).append(line)

    for batch_size, preset in dict.fromkeys((row['batch_size'], row['preset']) for row in rows):
        here = pick(rows, batch_size=[batch_size])
        ours, peers = (pick(here, preset=[preset], source=sources) for sources in ([OURS], PEERS))
        best = fastest(inference(ours))
        answer(BEST, best, [fastest(pick(peers, source=['timm'], path=COMPILERS))], of_time)
        answer(ALONE, fastest(pick(ours, path=['accelerate'])), pick(peers, path=['eager']), of_time)
        if preset != BASELINE:
            published = best and best['paper']
            answer(CLAIM, best, [fastest(inference(pick(here, preset=[BASELINE])))], of_time,
                   f'; paper {published:.2f}' if published else '')
        steps, theirs = training(ours), pick(peers, path=['train'])
        answer(STEP, fastest(steps), theirs, of_time)
        least = min(steps, key=lambda row: row['memory'], default=None)
        answer(MEMORY, least, theirs, lambda row, other: row['memory'] / other['memory'])
        answer(MEMORY, least, theirs, lambda row, other: row['step_memory'] / other['step_memory'],
               ', not counting weights, momentum and images')
    return answers


def pick(rows, **wanted):
    """The rows whose values are among those that are wanted."""
    return [row for row in rows if all(row[key] in values for key, values in wanted.items())]


def inference(rows):
    return [row for row in rows if not is_training(row['path'])]


def training(rows):
    return [row for row in rows if is_training(row['path'])]


def fastest(rows):
    return min(rows, key=lambda row: row['ms'], default=None)


def of_time(row, other):
    return ratio(row['seconds'], other['seconds'])['median']


def name(row, mine):
    """Whose a row is, beside another."""
    return f'{row["source"] if row["preset"] == mine["preset"] else row["preset"]}\'s ({row["path"]})'


# 2. The table.


HEADS = ('batch', 'model', 'of', 'path', 'params M', 'MACs G', 'ms', 'images/s', 'TFLOP/s', '% matmul', '% copy',
         '/ ResNet-50', 'paper', '/ ours', 'step MB', 'MB')
TIMES = ('ms', 'images/s', 'TFLOP/s')  # a CPU's say little about another's; its ratios do


def cells(row):
    """A row of the table as text."""

    def share(key):
        return spread(row[key]) if row[key] else ''

    def number(key, digits, unit=1.):
        return f'{row[key] / unit:.{digits}f}' if row.get(key) else ''

    return (str(row['batch_size']), row['preset'], row['source'], row['path'], number('params', 2, 1e6),
            number('macs', 2, 1e9), number('ms', 1), number('images_per_second', 1), number('tflops', 2),
            number('of_product', 0, .01), number('of_copy', 0, .01), share('to_baseline'), number('paper', 2),
            share('to_ours'), number('step_memory', 0, 1e6), number('memory', 0, 1e6))


def print_table(rows):
    from rich import box
    from rich.table import Table
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0),
                  title='Ratios of times: medians over the rounds ± half the quartile distance; under 1 is faster')
    texts = [cells(row) for row in rows]
    filled = [i for i in range(len(HEADS)) if any(text[i] for text in texts)]
    for i in filled:
        table.add_column(HEADS[i], justify='left' if HEADS[i] in ('model', 'of', 'path') else 'right', no_wrap=True)
    for text, following in zip(texts, [*texts[1:], texts[-1]]):
        table.add_row(*(text[i] for i in filled), end_section=text[0] != following[0])
    console().print(table)


# 3. The page.


PAGE = """# Running times

Measured with `tools/analysis_tools/benchmark.py {command}`: {measured}. {image_size}×{image_size} images.

*/ ResNet-50* and */ ours* are times divided by those of ResNet-50 from the same source in the same way, and by those of
our model: medians over the rounds ± half the distance of the quartiles; under 1 is faster. *Paper* is the ratio of
Table 3, measured on a GPU of 2019.

*% matmul* is the share of the rate at which this machine multiplies square matrices in the same type{product}, timed in
the same rounds; a training step counts as three forward passes. *% copy* is the share of the bandwidth of a
copy{copy}, counting no more than every convolution's input, output and weights, once each. *MB* is the peak memory of a
training step, with weights, momentum and images; *step MB* without those, which are there before it.
{goals}
## All

{table}
{left_out}
![Times relative to ResNet-50](benchmark.png)
"""


def write_page(report, device, path):
    """Write a Markdown page of a report of ``benchmark.run``, without absolute times if they are a CPU's."""
    gpu = device.type == 'cuda'
    kept = [i for i, head in enumerate(HEADS) if gpu or head not in TIMES]
    table = markdown_table([HEADS[i] for i in kept], [[cells(row)[i] for i in kept] for row in report['rows']])
    answers = goals(report['rows'])
    ceilings = report['ceilings']
    path.write_text(PAGE.format(
        command=report['command'], measured=MEASURED.format(**report), image_size=report['image_size'], table=table,
        product=f', {ceilings["product_tflops"]:.0f} TFLOP/s' if gpu else '',
        copy=f', {ceilings["copy_gbs"]:.0f} GB/s read and written' if gpu else '',
        goals='\n## Goals\n' * bool(answers) + ''.join(
            f'\n{question}:\n\n' + ''.join(f'* {line}\n' for line in lines) for question, lines in answers.items()),
        left_out=''.join(f'\nLeft out: {line}.\n' for line in report['left_out'])), encoding='utf-8')


# 4. The figure.


def draw(rows, path):
    """Draw the ratios to ResNet-50, a panel for every batch size, beside the paper's."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    batch_sizes = list(dict.fromkeys(row['batch_size'] for row in rows))
    shown = [row for row in rows if row['preset'] != BASELINE and row['to_baseline']]
    presets = list(dict.fromkeys(row['preset'] for row in shown))
    ways = list(dict.fromkeys((row['source'], row['path']) for row in shown))
    width = .8 / max(len(ways), 1)
    colours = plt.get_cmap('tab10' if len(ways) <= 10 else 'tab20')
    figure, axes = plt.subplots(len(batch_sizes), figsize=(max(8, 2 + .2 * len(presets) * len(ways)),
                                                           3.2 * len(batch_sizes)), squeeze=False, layout='constrained')
    for axis, batch_size in zip(axes[:, 0], batch_sizes):
        here = pick(shown, batch_size=[batch_size])
        for i, (source, way) in enumerate(ways):
            mine = pick(here, source=[source], path=[way])
            ratios = [row['to_baseline'] for row in mine]
            middle = [found['median'] for found in ratios]
            spread = [[found['median'] - found['low'] for found in ratios],
                      [found['high'] - found['median'] for found in ratios]]
            places = [presets.index(row['preset']) + (i - (len(ways) - 1) / 2) * width for row in mine]
            axis.bar(places, middle, width, yerr=spread, capsize=2, color=colours(i))
        published = {presets.index(row['preset']): row['paper'] for row in here if row['paper']}
        if published:
            axis.hlines(list(published.values()), [i - .45 for i in published], [i + .45 for i in published],
                        colors='black', linestyles='dashed')
        axis.axhline(1, color='grey', linewidth=.8)
        axis.set(title=f'batch {batch_size}', ylabel='time relative to ResNet-50', xlim=(-.5, len(presets) - .5))
        axis.set_xticks(range(len(presets)), presets, fontsize=8)
    handles = [Patch(color=colours(i), label=', '.join(way)) for i, way in enumerate(ways)]
    handles.append(Line2D([], [], color='black', linestyle='dashed', label='paper, Table 3'))
    figure.legend(handles=handles, loc='outside lower center', fontsize=8, ncols=4)
    figure.savefig(path, dpi=110)
    plt.close(figure)
