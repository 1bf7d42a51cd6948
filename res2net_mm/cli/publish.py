"""The command ``tools/model_converters/publish.py``: weights and a model card for others, on this disk or on a hub."""
from __future__ import annotations

import argparse
import math
import re
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

from ..checkpoints.weights import SCHEME
from ..utils.config import config_name, load_config
from ..utils.errors import UserError
from .arguments import debug_argument, trust_argument
from .command import TOOL_ERRORS, run_command
from .runner import read_safely

if TYPE_CHECKING:
    from mmengine.config import Config

STORED = 'the config that is stored in the checkpoint'
STEM = re.compile(r'[\w.-]+')
LICENCE = re.compile(r'[a-z0-9][a-z0-9.+-]*')  # as the hub's are


def main(argv: Sequence[str] | None = None) -> None:
    """Publish a checkpoint: the command ``tools/model_converters/publish.py``."""
    parser = argparse.ArgumentParser(
        description='Make a folder of a checkpoint for others: its weights, without optimizer, logs and paths, in a '
                    'file that is named by its SHA-256, the config and a model card; and push it to a hub.')
    parser.add_argument('checkpoint', help="checkpoint of a training, or public weights: 'res2net_mm://NAME'")
    parser.add_argument('out_dir', help='the folder to make; it appears whole or not at all')
    parser.add_argument('--config', help='config of the training (the one that is stored in the checkpoint)')
    parser.add_argument('--format', choices=('safetensors', 'pth'), default='safetensors',
                        help="format of the weights; OpenMMLab's own tools read pth alone (%(default)s)")
    parser.add_argument('--name', help="name of the model, before the hash (that of the config's file, or of OUT_DIR)")
    parser.add_argument('--backbone-only', action='store_true',
                        help="only the weights of the backbone, for another model's init_cfg")
    parser.add_argument('--no-ema', action='store_true',
                        help='the weights of the optimizer instead of their moving average, where EMAHook has kept one')
    parser.add_argument('--metric', action='append', default=[], metavar='NAME=VALUE',
                        help='what was measured with these weights, such as coco/bbox_mAP=0.412; may be repeated')
    parser.add_argument('--dataset', action='append', default=[], metavar='ID',
                        help="the dataset's name on the hub, for the card; may be repeated")
    parser.add_argument('--license', '--licence', dest='licence', default='', metavar='ID',
                        help="the hub's name of the licence, such as apache-2.0; needed for --push")
    parser.add_argument('--license-link', '--licence-link', dest='licence_link', default='', metavar='URL',
                        help='where the text of the licence is, for --license other')
    parser.add_argument('--push', metavar='OWNER/NAME', help='push the folder to this repository of the hub')
    parser.add_argument('--private', action='store_true', help='push to a private repository only')
    parser.add_argument('--overwrite', action='store_true', help='replace an earlier publication in OUT_DIR')
    trust_argument(parser)
    debug_argument(parser)
    args = parser.parse_args(argv)
    if args.private and not args.push:
        parser.error('--private goes with --push')
    run_command(publish, args, errors=TOOL_ERRORS)


def publish(args: Namespace) -> None:
    """Publish as the arguments say.

    Raises:
        UserError, OSError, ValueError: If an argument, the checkpoint or the config cannot be used, or the folder not
            be written or pushed. What is there stays as it is.
    """
    from ..checkpoints.pushing import check_push, push_folder, resolve_url
    read_safely(args)
    metrics = parse_metrics(args.metric)
    folder = Path(args.out_dir).expanduser().absolute()
    is_public = args.checkpoint.startswith(SCHEME)
    licence = args.licence or (_stated_licence(args.checkpoint) if is_public else '')
    _check_arguments(args, licence, is_public)
    if args.push:
        check_push(args.push)
    name = args.name or (args.checkpoint[len(SCHEME):] if is_public else
                         config_name(args.config) if args.config else folder.name)
    if not STEM.fullmatch(name):
        raise UserError(f'--name {name}: only letters, digits, and . _ - are allowed')

    make = _publish_public if is_public else _publish_result
    file, warning = make(args, folder, name, licence, metrics)
    print(f'{folder}: {file}' + (f'\nWarning: {warning}' if warning else ''))
    if args.push:
        push_folder(folder, args.push, args.private)
        print(f'pushed: {resolve_url(args.push, file)}')


def parse_metrics(texts: Sequence[str]) -> dict[str, float]:
    """Metrics by name, of texts NAME=VALUE.

    Raises:
        UserError: If one of them is no such text.
    """
    metrics = {}
    for text in texts:
        name, _, value = text.rpartition('=')
        try:
            metrics[name] = float(value)
        except ValueError:
            metrics[name] = math.nan
        if not name or not math.isfinite(metrics[name]):
            raise UserError(f'--metric {text}: must be NAME=VALUE with a finite number, such as coco/bbox_mAP=0.412')
    return metrics


def _check_arguments(args: Namespace, licence: str, is_public: bool) -> None:
    unused = [option for option, value in (('--config', args.config), ('--metric', args.metric),
                                           ('--no-ema', args.no_ema)) if value]
    if is_public and unused:
        raise UserError(f'{", ".join(unused)}: not for public weights; the table says what is known of them')
    if licence and not LICENCE.fullmatch(licence):
        raise UserError(f"--license {licence}: must be one of the hub's names in small letters, such as apache-2.0, "
                        "mit, cc-by-nc-sa-4.0, or 'other' with --license-link")
    if (licence == 'other') != bool(args.licence_link):
        raise UserError("--license-link: needed for --license other, and for no other licence")
    if args.push and not licence:
        raise UserError('--push: without a licence nobody may use the weights; give --license ID')


def _stated_licence(address: str) -> str:
    from ..analysis.model_card import stated_licence
    from ..models.pretrained import find_weights
    return stated_licence(find_weights(address[len(SCHEME):]))


def _publish_public(args: Namespace, folder: Path, name: str, licence: str,
                    metrics: dict[str, float]) -> tuple[str, str]:
    """Publish weights of the table; return the file's name, and no warning: the card states their licence."""
    from ..analysis.model_card import CardArguments, public_weights_card
    from ..checkpoints.files import read_checkpoint
    from ..checkpoints.hub import fetch
    from ..checkpoints.publishing import CARD, published_meta, select_backbone, select_weights, write_publication
    from ..models.pretrained import find_weights
    weights = find_weights(args.checkpoint[len(SCHEME):])
    checkpoint = read_checkpoint(fetch(weights))  # never a file of the user's own under this name
    state = select_weights(checkpoint)
    if args.backbone_only:
        state = select_backbone(state)
    card = CardArguments(name, licence, args.licence_link, tuple(args.dataset))
    file = write_publication(
        folder, name, args.format, dict(meta=published_meta(checkpoint), state_dict=state),
        lambda file: {CARD: public_weights_card(weights, file, card)}, args.overwrite)
    return file.name, ''


def _publish_result(args: Namespace, folder: Path, name: str, licence: str,
                    metrics: dict[str, float]) -> tuple[str, str]:
    """Publish a checkpoint of a training; return the file's name, and what to think of about its licence."""
    from ..analysis.model_card import CardArguments, licence_warning, result_card
    from ..analysis.training_result import check_fit, describe_result
    from ..checkpoints.files import read_checkpoint
    from ..checkpoints.publishing import (
        CARD,
        CONFIG,
        PublishedFile,
        published_meta,
        select_backbone,
        select_weights,
        write_publication,
    )
    from ..utils.published_config import config_text
    path = Path(args.checkpoint)
    checkpoint = read_checkpoint(path)
    weights = select_weights(checkpoint, average=not args.no_ema)
    cfg = _read_training_config(args.config, checkpoint)
    if cfg:
        check_fit(weights, cfg, args.config or STORED)
    if args.backbone_only or not cfg:
        backbone = select_backbone(weights)
        weights = backbone if args.backbone_only else weights
    result = describe_result(checkpoint, weights, path, cfg, metrics, not args.no_ema, args.backbone_only)

    def texts(file: PublishedFile) -> dict[str, str]:
        address = _address(args.push, file.name)
        card = CardArguments(name, licence, args.licence_link, tuple(args.dataset), address)
        config = {CONFIG: config_text(cfg)} if cfg else {}
        return {CARD: result_card(result, file, card, bool(cfg)), **config}

    file = write_publication(folder, name, args.format, dict(meta=published_meta(checkpoint), state_dict=weights),
                             texts, args.overwrite)
    return file.name, licence_warning(result) if result.initial_weights else ''


def _address(repo_id: str | None, file: str) -> str:
    from ..checkpoints.pushing import resolve_url
    return resolve_url(repo_id, file) if repo_id else file


def _read_training_config(config: str | None, checkpoint: dict) -> Config | None:
    """The config as it is published: of a file, or else of the checkpoint; None if neither is there."""
    from ..utils.published_config import publishable_config
    if config:
        try:
            return publishable_config(load_config(config).pretty_text, config)
        except (FileNotFoundError, ModuleNotFoundError) as error:
            raise UserError(str(error)) from error
    meta = checkpoint.get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    return publishable_config(text, STORED) if isinstance(text, str) else None
