"""The config and the checkpoint that the name of a model means."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..checkpoints.weights import SCHEME, Weights
from ..models.names import normalise_name
from ..models.public_weights import BY_HAND, WEIGHTS, find_tested_weights
from ..utils.config import config_name, demo_weights, find_config, packaged_configs
from ..utils.errors import UserError
from ..utils.text import did_you_mean

DEMO = 'demo'  # the detector among the models that come with the package
SUFFIXES = ('.safetensors', '.pth')


@dataclass(frozen=True)
class ModelFiles:
    """Where a model is.

    Args:
        config (str): Its config, a file.
        checkpoint (str): Its checkpoint: a file, ``res2net_mm://NAME`` or an address.
    """

    config: str
    checkpoint: str

    @property
    def name(self) -> str:
        """The name of its config."""
        return config_name(self.config)


def demo_models() -> dict[str, Path]:
    """The models that come with the package: the names of their configs, and their weights."""
    return demo_weights()


def find_model(model: str, checkpoint: str | None = None) -> ModelFiles:
    """Find the files of a model.

    Args:
        model (str): A config file, ``package::NAME.py``, the name of one of our configs, with or without '.py', the
            name of weights that have a config (docs/weights.md), or 'demo', the detector that comes with the package.
        checkpoint (str | None): Its checkpoint. Defaults to None: the weights that are public or come with the package.

    Raises:
        UserError: If there is no such model, or no checkpoint is given, and none is known.
    """
    shipped, weights = demo_models(), _public_models()
    if model == DEMO and not Path(model).is_file():
        model = next((name for name in shipped if 'faster_rcnn' in name), model)
    configs = {normalise_name(name): config for config, row in weights.items() for name in (row.name, *row.aliases)}
    weights_name = model[len(SCHEME):] if model.startswith(SCHEME) else model
    try:
        config = _config_file(configs.get(normalise_name(weights_name), weights_name))
    except FileNotFoundError as error:
        raise UserError(f"model '{model}': {_near_models(weights_name, weights) or error}") from error
    name = config_name(config)
    if checkpoint is None and name in shipped:
        checkpoint = str(shipped[name])
    if checkpoint is None and name in weights:
        checkpoint = SCHEME + weights[name].name
    if checkpoint is None:
        raise UserError(f"model '{model}': there are no public weights of it; name yours with --checkpoint FILE (with "
                        f'weights are {", ".join([DEMO, *shipped, *weights])})')
    return ModelFiles(config, checkpoint)


def _public_models() -> dict[str, Weights]:
    """The names of our configs that have public weights, and these weights."""
    tested = {path.stem: find_tested_weights(path) for path in sorted(packaged_configs().rglob('*.py'))
              if path.parent.name != '_base_'}
    return {**{row.config: row for row in (*WEIGHTS, *BY_HAND) if row.config},
            **{name: row for name, row in tested.items() if row}}


def _config_file(model: str) -> str:
    if Path(model).suffix in SUFFIXES:
        raise UserError(f"model '{model}' is a checkpoint: name its config, and the checkpoint with --checkpoint")
    if '::' in model or Path(model).is_file():
        return model
    return str(find_config(model if model.endswith('.py') else f'{model}.py'))


def _near_models(name: str, weights: dict[str, Weights]) -> str:
    """What to say of a name that no model has; '' for a path, or if no name is near."""
    if '/' in name or '\\' in name:
        return ''
    folder = packaged_configs()
    names = {normalise_name(path.stem): str(path.relative_to(folder)) for path in folder.rglob('*.py')
             if path.parent.name != '_base_'}
    names.update({normalise_name(known): known for known in (
        DEMO, *(known for row in weights.values() for known in (row.name, *row.aliases)))})
    return did_you_mean(normalise_name(name.removesuffix('.py')), names, names,
                        form='there is no model of that name; {}')
