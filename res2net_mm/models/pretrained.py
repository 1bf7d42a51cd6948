"""Pretrained weights: by name (``res2net_mm://NAME``) or from a file, loaded whole or not at all.

Importing this module adds the scheme ``res2net_mm://`` to mmengine's; it changes nothing that mmengine has.
"""
from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Mapping

from mmengine.model import BaseModule, PretrainedInit
from mmengine.runner import CheckpointLoader

from ..checkpoints.archives import MapLocation
from ..checkpoints.files import load_checkpoint, load_from_local
from ..checkpoints.hub import fetch, fetch_in_turn, find_own_weights
from ..checkpoints.input_channels import OPTION
from ..checkpoints.loading import adapt_state_dict, unwrap
from ..checkpoints.weights import SCHEME, Weights, find_mark, mark
from ..utils.config import demo_weights
from ..utils.errors import CheckpointError
from ..utils.text import did_you_mean
from .names import ARCHITECTURES, known_names, normalise_name
from .public_weights import BY_HAND, WEIGHTS

FILE = SCHEME + 'file:'  # before a path or an address: read by our reader
CIFAR_NAMES, CIFAR_MODELS = 'res2next29', 'all CIFAR-100 models (Table 4, Figure 5)'  # not public either


class PretrainedModule(BaseModule):
    """A module that takes weights in every known layout of keys, and is never left with a part of them by accident.

    Three ways lead weights into it:

    * ``init_cfg=dict(type='Pretrained', checkpoint=...)`` reads with the reader of this package, from files and from
      addresses of every scheme, whatever loaders mmengine has. All weights must be there.
    * As part of a model, whose weights mmengine (``load_from``, ``resume``) or PyTorch loads: all of its weights must
      be there, also with ``strict=False``. That is mmengine's default, which would only warn and train on.
    * ``module.load_state_dict(weights, strict=False)``, called on the module itself, does what PyTorch says: it loads
      what fits by name, once the names are ours, and returns the missing and the unexpected keys. With ``strict=True``
      all weights must be there; only a classifier, and stages that the module does not have, may be left over.

    With ``adapt_in_channels=True`` in the ``init_cfg`` of a backbone, each of them takes weights for images of another
    number of channels than ``in_channels``, and adapts the first convolution as timm does (``adapt_weight``); weights
    for as many channels are loaded as they are.

    A subclass has the attribute ``variant``, its name in messages, and may have ``unneeded``: how the keys start that
    it leaves in a whole checkpoint.
    """

    variant: str
    init_cfg: dict | list[dict] | None
    _loads_parts = False

    def __init__(self, init_cfg: dict | list[dict] | None) -> None:
        super().__init__(init_cfg)
        self.adapt_in_channels = any(cfg.get(OPTION, False) for cfg in as_list(init_cfg))

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says, with our own reader for checkpoints."""
        init_cfg = self.init_cfg
        self.init_cfg = [_read_by_us(cfg) for cfg in as_list(init_cfg)]
        try:
            super().init_weights()
        finally:
            self.init_cfg = init_cfg

    def _dump_init_info(self) -> None:
        """Print nothing: without a log file mmengine prints three lines for every parameter, where this is no part."""

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights under any known names.

        Args:
            state_dict (Mapping[str, Tensor]): The weights; it stays as it is.
            strict (bool): Whether all weights must be there. Defaults to True.
            assign (bool): As in PyTorch, from version 2.1 on: take the tensors themselves. Defaults to False.

        Returns:
            NamedTuple: ``missing_keys`` and ``unexpected_keys``, under our names.

        Raises:
            ValueError: If ``strict``, and a weight is missing, left over or of another shape.
            RuntimeError: If not ``strict``, and a weight has another shape.
        """
        self._loads_parts = not strict
        try:
            return super().load_state_dict(state_dict, strict, **(dict(assign=True) if assign else {}))
        finally:
            self._loads_parts = False

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        published = find_mark(value for key, value in state_dict.items() if key.startswith(prefix))
        try:
            adapt_state_dict(self, state_dict, prefix, not self._loads_parts, self.adapt_in_channels)
        except CheckpointError as error:
            if published is None:
                raise
            raise CheckpointError(f'{SCHEME}{published.name}: {error}') from None
        super()._load_from_state_dict(state_dict, prefix, *args)


def as_list(init_cfg: dict | list[dict] | None) -> list[dict]:
    """The configs in an ``init_cfg``."""
    return [init_cfg] if isinstance(init_cfg, dict) else list(init_cfg or [])


def is_pretrained(cfg: dict) -> bool:
    """Whether an initialisation loads a checkpoint."""
    return cfg['type'] in ('Pretrained', PretrainedInit)


def _read_by_us(cfg: dict) -> dict:
    if not is_pretrained(cfg):
        return cfg
    cfg = {key: value for key, value in cfg.items() if key != OPTION}  # which mmengine does not know
    if str(cfg['checkpoint']).startswith(SCHEME):
        return cfg
    return dict(cfg, checkpoint=f'{FILE}{cfg["checkpoint"]}')


def read_weights(source: str | Path, map_location: MapLocation = 'cpu') -> dict:
    """Read a checkpoint from wherever a config may say it is, with our reader.

    Args:
        source (str | Path): A local file, ``res2net_mm://NAME``, or an address of any scheme that mmengine knows.
        map_location (MapLocation): As for ``torch.load``. Defaults to 'cpu'.

    Returns:
        dict: What the file holds: weights by name, or a training checkpoint around them.

    Raises:
        OSError, ValueError: If it cannot be read, or there are no weights of that name.
    """
    return load_checkpoint(source, map_location)


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_from_res2net_mm(filename: str, map_location: MapLocation = None) -> dict:
    """Load public weights for mmengine; in a distributed run only the first process downloads."""
    if filename.startswith(FILE):
        return load_checkpoint(filename[len(FILE):], map_location)
    name = filename[len(SCHEME):]
    checkpoint = load_from_local(fetch_in_turn(partial(fetch_weights, name)), map_location)
    published = _known_weights().get(normalise_name(name))
    if published:
        mark(unwrap(checkpoint)[0].values(), published)
    return checkpoint


def fetch_weights(name: str) -> Path:
    """Return the local path of public weights, downloading them at the first use.

    Weights of your own come first: ``NAME.pth`` in the folder ``RES2NET_MM_WEIGHTS`` serves any name, also one that is
    not public.

    Args:
        name (str): A name or an alias of weights, or of the architecture that they are of; or the name of a small
            model that comes with the package, such as demo_faster_rcnn_r2n26.

    Returns:
        Path: The file.

    Raises:
        ValueError: If there are no public weights of that name, none that a program can fetch, or a file in
            ``RES2NET_MM_WEIGHTS`` is a wrong one.
        FileNotFoundError: If no host could be reached or none had the right file.
    """
    own = find_own_weights(name) or demo_weights().get(name)
    if own:
        return own
    weights = find_weights(name)
    return find_own_weights(weights.name) or fetch(weights)


def find_weights(name: str) -> Weights:
    """Find public weights by a name of theirs, or by one of the architecture of that name.

    Raises:
        ValueError: If there are none; the message has the names that are near, and all that there are, or says that
            the weights were never published.
    """
    by_name = _known_weights()
    if normalise_name(name) in by_name:
        return by_name[normalise_name(name)]
    unpublished = CIFAR_MODELS if normalise_name(name).startswith(CIFAR_NAMES) else next(
        (row.unpublished for row in ARCHITECTURES
         if normalise_name(name) in map(normalise_name, known_names(row))), '')
    if unpublished:
        raise CheckpointError(
            f'{SCHEME}{name}: the weights of {unpublished} were never published; train the model, and put its '
            f'checkpoint as {name}.pth into the folder that RES2NET_MM_WEIGHTS names')
    told = {key: weights.name for key, weights in by_name.items()}
    raise CheckpointError(
        f'{SCHEME}{name}: no public weights of that name; '
        + did_you_mean(normalise_name(name), by_name, told, form='{} ')
        + f'there are {", ".join(weights.name for weights in (*WEIGHTS, *BY_HAND))}')


def _known_weights() -> dict[str, Weights]:
    """Weights by every name of theirs, normalised; an architecture's names are those of the weights called like it."""
    by_name = {normalise_name(name): weights for weights in (*WEIGHTS, *BY_HAND)
               for name in (weights.name, *weights.aliases)}
    for row in ARCHITECTURES:
        weights = by_name.get(normalise_name(row.name))
        if weights:
            by_name = {**{normalise_name(name): weights for name in (row.name, *row.aliases)}, **by_name}
    return by_name
