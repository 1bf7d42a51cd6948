"""Rules for arguments that name something: architectures, registered layers, initialisations."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.registry import MODELS, WEIGHT_INITIALIZERS, Registry

from ...checkpoints.input_channels import OPTION
from ...utils.text import did_you_mean
from ..names import ARCHITECTURES, resolve
from ..pretrained import is_pretrained
from .arguments import Arguments, Flag, Flags, OneOf, Rule
from .refusal import refuse


@dataclass(frozen=True)
class ArchitectureName(Rule):
    """A name or alias of an architecture of a backbone, see ``models/names.py``.

    Args:
        type (str): The registered backbone.
    """

    type: str

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value."""
        try:
            fits = isinstance(value, str) and resolve(value).type == self.type
        except ValueError:
            fits = False
        if not fits:
            names = ', '.join(repr(row.name) for row in ARCHITECTURES if row.type == self.type)
            refuse(name, value, f'one of {names}, or an alias of one')
        return value


@dataclass(frozen=True)
class LayerConfig(Rule):
    """mmcv's config of a layer, with the type of a registered one; whether the layer takes the rest, building shows.

    Args:
        example (str): One that messages show. Defaults to "dict(type='BN')".
    """

    example: str = "dict(type='BN')"

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value."""
        if not isinstance(value, dict) or not isinstance(value.get('type'), (str, type)):
            refuse(name, value, f"a dict with a 'type', such as {self.example}")
        if isinstance(value['type'], str) and not _is_registered(value['type']):
            refuse(name, value, f"a dict with a 'type' that is registered{_why_not(value['type'])}")
        return value


class DeformableConfig(LayerConfig):
    """mmcv's config of deformable convolutions, as in the configs of mmdet, whose ``fallback_on_stride`` is dropped."""

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value that the layer takes."""
        super().check(name, value, arguments)
        if value.get('fallback_on_stride', False) is not False:
            refuse(name, value, 'without fallback_on_stride: blocks with a stride are deformable, too')
        return {key: item for key, item in value.items() if key != 'fallback_on_stride'}


@dataclass(frozen=True)
class Plugins(Rule):
    """Layers to insert: dicts of ``cfg`` and ``position``, and if need be ``stages`` and ``postfix``.

    Args:
        positions (tuple[str]): The positions that there are.
        num_stages (str): The argument that says how many stages there are.
    """

    positions: tuple[str, ...]
    num_stages: str = 'num_stages'

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value."""
        if not isinstance(value, (tuple, list)):
            refuse(name, value, "a sequence of dicts with 'cfg' and 'position'")
        stages = arguments[self.num_stages]
        for i, plugin in enumerate(value):
            if not isinstance(plugin, dict) or not {'cfg', 'position', 'stages', 'postfix'}.issuperset(plugin):
                refuse(f'{name}[{i}]', plugin, "a dict with 'cfg', 'position' and, if need be, 'stages' and 'postfix'")
            layer = LayerConfig("dict(type='ContextBlock', ratio=1 / 16)")
            layer.check(f'{name}[{i}].cfg', plugin.get('cfg'), arguments)
            OneOf(*self.positions).check(f'{name}[{i}].position', plugin.get('position'), arguments)
            Flags(stages).check(f'{name}[{i}].stages', plugin.get('stages', (True, ) * stages), arguments)
            if type(plugin.get('postfix', '')) not in (str, int):
                refuse(f'{name}[{i}].postfix', plugin['postfix'], 'a string or an integer')
        return value


@dataclass(frozen=True)
class InitConfig(Rule):
    """mmengine's initialisation: None, a dict with the type of a registered initialiser, or a list of such dicts.

    Args:
        sees_images (bool): Whether weights may be adapted to images of other channels. Defaults to False.
    """

    sees_images: bool = False

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value."""
        if value is None:
            return value
        cfgs = value if isinstance(value, list) else [value]
        if not cfgs:
            refuse(name, value, 'None, a dict, or a list of dicts')
        for i, cfg in enumerate(cfgs):
            place = f'{name}[{i}]' if isinstance(value, list) else name
            kind = cfg.get('type') if isinstance(cfg, dict) else None
            if not isinstance(kind, (str, type)) or (
                    isinstance(kind, str) and not _has(WEIGHT_INITIALIZERS, kind)):
                refuse(place, cfg, "a dict with the 'type' of an initialiser, such as dict(type='Pretrained', "
                       'checkpoint=...)')
            if is_pretrained(cfg):
                self.check_pretrained(place, cfg, arguments)
        return value

    def check_pretrained(self, name: str, cfg: dict, arguments: Arguments) -> None:
        """Check one config that loads a checkpoint, as ``check`` does."""
        if not isinstance(cfg.get('checkpoint'), (str, Path)):
            refuse(name, cfg, "a dict with a 'checkpoint', the path, address or name of one")
        options = ['checkpoint', 'prefix', 'map_location'] + [OPTION] * self.sees_images
        unknown = [key for key in cfg if key not in ('type', *options)]
        if unknown:
            refuse(name, cfg, f"a dict of 'type', {', '.join(map(repr, options))}; there is no {unknown[0]!r}")
        Flag().check(f'{name}.{OPTION}', cfg.get(OPTION, False), arguments)


@dataclass(frozen=True)
class OrAsArch(Rule):
    """What another rule says; None stands for what the architecture ``arch`` has."""

    rule: Rule

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value, or that of the architecture."""
        return self.rule.check(name, resolve(arguments['arch']).arguments[name] if value is None else value, arguments)


def _is_registered(layer: str) -> bool:
    """Whether mmcv finds a layer, if need be among its compiled operators, which register themselves at import."""
    with MODELS.switch_scope_and_registry(None) as registry:  # as mmcv looks for it
        if _has(registry, layer):
            return True
        try:
            import mmcv.ops  # noqa: F401  (DCN, DCNv2, ...)
        except ImportError:
            return False
        return _has(registry, layer)


def _has(registry: Registry, name: str) -> bool:
    try:
        return registry.get(name) is not None
    except Exception:  # for a name with dots mmengine imports modules, in which anything may go wrong
        return False


def _why_not(layer: str) -> str:
    with MODELS.switch_scope_and_registry(None) as registry:
        names: list[str] = []
        up: Registry | None = registry
        while up is not None:
            names += up.module_dict
            up = up.parent
    try:
        import mmcv.ops  # noqa: F401
        operators = ''
    except ImportError as error:
        operators = ('; mmcv.ops, where DCN and DCNv2 are, cannot be imported: install mmcv with its operators, not '
                     f'mmcv-lite ({error})')
    return did_you_mean(layer, names, form='; {}') + operators
