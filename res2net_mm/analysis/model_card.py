"""Model cards in the hub's format: of public weights, from their row of the table, and of a training result.

What a card says is in the table, the checkpoint, the config or the arguments of the publisher; what is in none of them,
it says is not known. ``huggingface_hub`` writes and checks the part for machines.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Sequence

import torch
from mmengine.registry import MODELS

from ..checkpoints.publishing import CONFIG, PublishedFile
from ..checkpoints.weights import SCHEME, Accuracy, Weights
from ..models.complexity import count
from ..models.names import resolve
from ..utils.errors import UserError
from ..utils.text import markdown_table
from .training_result import BACKBONE_TASK, TrainingResult

LIBRARY = 'res2net_mm'
UNKNOWN = 'not known'
LICENCES = {'CC BY-NC-SA 4.0': 'cc-by-nc-sa-4.0'}  # the hub's names of those that the table states
PAPER = 'Res2Net: A New Multi-scale Backbone Architecture ([arXiv 1904.01169](https://arxiv.org/abs/1904.01169))'
NO_LICENCE = 'No licence is stated. Without one, nobody may use these weights.'
BINDING = ("These weights were trained from others. The licence of those may bind what is derived from them, whatever "
           'this card says:')


@dataclass(frozen=True)
class CardArguments:
    """What the publisher says beside the table, the checkpoint and the config.

    Args:
        name (str): Name of the model.
        licence (str): The hub's name of the licence; '' if none is given. Defaults to ''.
        licence_link (str): Where its text is, for the licence 'other'. Defaults to ''.
        datasets (tuple[str]): The hub's names of the datasets. Defaults to ().
        address (str): Address or name by which the file is loaded. Defaults to '', its file name.
    """

    name: str
    licence: str = ''
    licence_link: str = ''
    datasets: tuple[str, ...] = ()
    address: str = ''


def stated_licence(weights: Weights) -> str:
    """The hub's name of the licence that public weights have; '' if none is stated that the hub has a name for."""
    return next((name for stated, name in LICENCES.items() if weights.licence.startswith(stated)), '')


def public_weights_card(weights: Weights, file: PublishedFile | None = None,
                        arguments: CardArguments | None = None) -> str:
    """Write the card of public weights.

    Args:
        weights (Weights): Their row of the table.
        file (PublishedFile | None): The file that the card is for. Defaults to None: those of the table.
        arguments (CardArguments | None): What the publisher says. Defaults to None: what the table says.

    Returns:
        str: The card, Markdown behind a head in YAML.

    Raises:
        UserError: If huggingface_hub is not installed, or finds the head invalid.
    """
    arguments = arguments or CardArguments(weights.name, stated_licence(weights))
    task = 'object-detection' if weights.config else 'image-classification'
    data = 'see the protocol' if weights.config else 'ImageNet-1k'
    results = [(*pair, data, one.source) for one in weights.accuracies for pair in named_values(one)]
    rows = [(*pair, one.source, one.protocol) for one in weights.accuracies for pair in named_values(one)]
    sections = [
        f'# {arguments.name}',
        f'Weights of {"a model with " if weights.config else ""}`{weights.architecture}`, a backbone after {PAPER}.',
        weights.note,
        '## Licence', f'As stated: {weights.licence}.',
        '## Accuracy', markdown_table(['metric', 'value', 'published by', 'protocol'], rows) if rows else
        'Nobody has published one.',
        '## Function',
        f"`stage_pool='{weights.stage_pool}'`: with another value the same weights compute something else.",
        _cost(weights.architecture),
        '## Images', _preprocessing(weights),
        '## Load', _load_public(weights),
        '## File', _file(file) if file else markdown_table(['file', 'bytes', 'SHA-256'], [
            (f'[{one.name}]({one.url})', one.size or UNKNOWN,
             f'begins with {one.sha256}' if one.sha256 else UNKNOWN) for one in weights.files])]
    return _card(sections, arguments, task, results, ['res2net'])


def result_card(result: TrainingResult, file: PublishedFile, arguments: CardArguments, has_config: bool) -> str:
    """Write the card of a training result.

    Args:
        result (TrainingResult): What is known of it.
        file (PublishedFile): The file that the card is for.
        arguments (CardArguments): What the publisher says.
        has_config (bool): Whether the config lies beside it.

    Returns:
        str: The card, Markdown behind a head in YAML.

    Raises:
        UserError: If huggingface_hub is not installed, or finds the head invalid.
    """
    facts = {
        'task': result.task, 'model': result.model, 'parts (weights)': result.parts,
        'backbone': result.backbone and f'`{result.backbone}`',
        'images': result.preprocessing and f'`{result.preprocessing}`',
        'classes': _abridged(result.classes),
        'trained on': '; '.join((*arguments.datasets, *result.trained_on)), 'trained for': result.duration,
        'tested on': '; '.join(result.tested_on), 'tested with': ', '.join(result.tested_with)}
    data = '; '.join(arguments.datasets or result.tested_on) or UNKNOWN
    sections = [
        f'# {arguments.name}',
        f'{"A backbone" if result.task == BACKBONE_TASK else "A model with a backbone"} after {PAPER}.',
        markdown_table(['', ''], [(name, text or UNKNOWN) for name, text in facts.items()]),
        f'The weights are {result.weights}.' if result.weights else '',
        '## Licence', _licence(arguments, result),
        '## Accuracy', _accuracy(result),
        '## Load', _load_result(result, arguments.address or file.name, has_config),
        '## File', _file(file)]
    results = [(name, value, data, '') for name, value in result.metrics]
    return _card(sections, arguments, result.task, results, ['res2net', 'openmmlab'])


def named_values(accuracy: Accuracy) -> list[tuple[str, float]]:
    """Name each value of an accuracy: 'top-1 / top-5 error, %' are 'top-1 error, %' and 'top-5 error, %'."""
    if len(accuracy.values) == 1:
        return [(accuracy.metric, accuracy.values[0])]
    *names, last = accuracy.metric.split(' / ')
    name, _, unit = last.partition(' ')
    return [(f'{name} {unit}'.strip(), value) for name, value in zip([*names, name], accuracy.values)]


def _card(sections: Sequence[str], arguments: CardArguments, task: str, results: Sequence[tuple[str, float, str, str]],
          tags: list[str]) -> str:
    """Put the head for machines before the text.

    Args:
        sections (Sequence[str]): Paragraphs; empty ones are left out.
        arguments (CardArguments): As for ``result_card``.
        task (str): The hub's name of the task, or ''.
        results (Sequence[tuple]): Metric, value, dataset and source ('' for the publisher) of each result.
        tags (list[str]): Tags.
    """
    try:
        from huggingface_hub import EvalResult, ModelCard, ModelCardData
    except ImportError as error:
        raise UserError('a model card needs huggingface_hub; first: pip install huggingface_hub') from error
    broken = [name for name, value, *_ in results if not math.isfinite(value)]
    if broken:
        raise UserError(f'{", ".join(broken)}: a metric must be a finite number')
    more: dict[str, Any] = {}
    if arguments.licence == 'other':
        more = dict(license_name=f'{arguments.name}-licence', license_link=arguments.licence_link)
    try:
        data = ModelCardData(
            license=arguments.licence or None, library_name=LIBRARY, tags=tags, pipeline_tag=task or None,
            datasets=list(arguments.datasets) or None, model_name=arguments.name,
            eval_results=[EvalResult(
                task_type=task or 'other', dataset_type=(arguments.datasets or (dataset, ))[0], dataset_name=dataset,
                metric_type=name, metric_name=f'{name} ({source})' if source else name, metric_value=value)
                for name, value, dataset, source in results] or None,
            **more)
        return str(ModelCard(f'---\n{data.to_yaml()}\n---\n\n' + '\n\n'.join(filter(None, sections)) + '\n'))
    except ValueError as error:
        raise UserError(f'the head of the model card is not valid: {error}') from error


def _licence(arguments: CardArguments, result: TrainingResult) -> str:
    link = f' ([its text]({arguments.licence_link}))' if arguments.licence_link else ''
    stated = f'`{arguments.licence}`{link}, as stated by the publisher.' if arguments.licence else NO_LICENCE
    return f'{stated}\n\n{licence_warning(result)}'


def licence_warning(result: TrainingResult) -> str:
    """What is known of the licences of the weights that a training began with, as text."""
    if not result.initial_weights:
        return ('The config names no weights that the training began with.' if result.backbone else
                'Whether the training began with other weights is not known: the config of the training is not there.')
    known = {f'{SCHEME}{row.name}': row.licence for row in result.derived_from}
    lines = [f'* `{row}`: {licence}' for row, licence in known.items()]
    others = len(result.initial_weights) - len(known)
    lines += [f'* `{source}`: its licence is not known here' for source in result.initial_weights
              if source not in known][:max(others, 0)]
    return '\n'.join([BINDING, '', *lines])


def _accuracy(result: TrainingResult) -> str:
    if result.metrics:
        return f'{markdown_table(["metric", "value"], result.metrics)}\n\nSource: {result.metrics_source}.'
    if result.recorded:
        return ('Not known for sure. The checkpoint has recorded the latest validation of its training, which may be '
                'one of earlier weights, since a checkpoint is mostly saved before it is validated:\n\n'
                + markdown_table(['metric', 'value'], result.recorded))
    return 'Not known: the checkpoint has recorded no validation.'


def _cost(architecture: str) -> str:
    row = resolve(architecture)
    params, macs = count(row.config, row.input_size)
    return (f'The backbone with a classifier of 1000 classes has {params / 1e6:.2f} M parameters and takes '
            f'{macs / 1e9:.2f} G multiply-adds at {row.input_size}² pixels, as counted by `res2net_mm`.')


def _preprocessing(weights: Weights) -> str:
    images = weights.preprocessing
    values = (f'channels in the order {images.channels}, mean {images.mean}, deviation {images.std} on values of 0 to '
              '255')
    if weights.config:
        return f'{values[0].upper()}{values[1:]}; all else is in the config `{weights.config}`.'
    return (f'The shorter side resized to {images.resize} pixels ({images.interpolation}), a centre crop of '
            f'{images.input_size}², {values}.')


def _load_public(weights: Weights) -> str:
    address = f'{SCHEME}{weights.name}'
    if weights.config:
        return _code('sh', f'python tools/test.py {weights.config} {address}')
    row = resolve(weights.architecture)
    backbone = f"type='{row.type}', arch='{row.name}'"
    backbone += '' if weights.stage_pool == 'always' else f", stage_pool='{weights.stage_pool}'"
    neck = ''
    if row.type != 'res2net_mm.Res2Net':  # it has other arguments than mmdet's ResNet, and other channels
        backbone = f'_delete_=True, {backbone}'
        with torch.device('meta'):
            neck = f', neck=dict(in_channels={list(MODELS.build(row.config).out_channels)})'
    return '\n\n'.join([
        _code('python', f"import res2net_mm\nbackbone = res2net_mm.create('{weights.name}', pretrained=True)"),
        'In a config of mmdet, and likewise of mmseg, mmpose and mmpretrain:',
        _code('python', "_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'\nmodel = dict(backbone=dict(\n"
                        f"    {backbone},\n    init_cfg=dict(type='Pretrained', checkpoint='{address}')){neck})")])


def _load_result(result: TrainingResult, address: str, has_config: bool) -> str:
    needed = 'With `res2net_mm` installed:'
    if result.task == BACKBONE_TASK:
        start = result.backbone[:-1] if result.backbone else "dict(type='res2net_mm.Res2Net'"
        return f'{needed}\n\n' + _code('python', f'backbone = {start},\n    init_cfg=dict(type=\'Pretrained\', '
                                                 f'checkpoint={address!r}))')
    config = CONFIG if has_config else 'CONFIG'
    text = f'{needed}\n\n' + _code('sh', f'python tools/test.py {config} {address}')
    text += f'\n\nTo train on from it: `load_from = {address!r}` in a config.'
    return text if has_config else text + ' The config of the training is not here.'


def _file(file: PublishedFile) -> str:
    return f'`{file.name}`, {file.size} bytes, SHA-256 `{file.sha256}`.'


def _code(language: str, text: str) -> str:
    return f'```{language}\n{text}\n```'


def _abridged(names: Sequence[str], most: int = 20) -> str:
    return f'{len(names)}: {", ".join(names[:most])}{", ..." if len(names) > most else ""}' if names else ''

