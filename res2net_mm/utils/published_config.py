"""The config of a training as others may see it: what makes the model and its numbers, nothing of the machine."""
from __future__ import annotations

import ast
import ipaddress
import re
from pathlib import PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any, Mapping
from urllib.parse import urlsplit

from mmengine.config import Config

from .config_edits import data_roots
from .errors import UserError

# What others need to train, test and run the model. All else is left out: loggers, launchers and settings of a user's
# own, where names of people and machines, and keys of services stand.
KEPT = ('default_scope', 'custom_imports', 'data_root', 'model', 'data_preprocessor', 'codec', 'train_dataloader',
        'val_dataloader', 'test_dataloader', 'train_cfg', 'val_cfg', 'test_cfg', 'val_evaluator', 'test_evaluator',
        'test_settings', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr', 'default_hooks', 'custom_hooks',
        'load_from', 'sync_bn', 'visualizer', 'tta_model', 'tta_pipeline', 'paper_table')
LEFT_OUT = ('vis_backends', 'backend_args', 'file_client_args')  # wherever they stand
PUBLIC_SCHEMES = ('res2net_mm', 'torchvision', 'modelzoo', 'open-mmlab', 'openmmlab', 'mmcls', 'http', 'https')
PRIVATE_HOST = re.compile(r'^[^.]*$|\.(local|localdomain|internal|intranet|lan|corp|home)$')
ABSOLUTE = re.compile(r'[/\\~]|[A-Za-z]:[/\\]')  # how a path begins that holds for one machine alone
PATH_TO = 'PATH_TO/'  # stands for the folders of a path


def publishable_config(text: str, name: str) -> Config:
    """Make the config that is published from the text of the one that was trained with. Nothing in it is run.

    Args:
        text (str): What mmengine writes of a config (``Config.pretty_text``, in a checkpoint ``meta['cfg']``).
        name (str): What the message calls it.

    Returns:
        mmengine.Config: Its model, data, schedule and hooks, without loggers, and as ``without_machine`` says.

    Raises:
        UserError: If the text is anything but names and literal values.
    """
    try:
        assignments = [(statement.targets[0].id, _literal(statement.value))  # type: ignore[attr-defined]
                       for statement in ast.parse(text).body]
    except (SyntaxError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f'{name} holds more than names and values: it is a program, and is not run. Give the config of '
                        'the training, --config FILE, written with plain values') from error
    kept = {name: value for name, value in assignments if name in KEPT}
    roots = dict.fromkeys(root for root in data_roots(kept) if ABSOLUTE.match(root))
    return Config(without_machine(kept, {root: f'{PATH_TO}data{i or ""}' for i, root in enumerate(roots)}))


def config_text(cfg: Config) -> str:
    """Write a config so that it can be read: mmengine writes infinity as ``inf``, a name that Python does not know."""
    text = cfg.pretty_text
    names = "inf, nan = float('inf'), float('nan')\n" if re.search(r'[ =(-](inf|nan)[,)\n]', text) else ''
    return names + text


def without_machine(value: Any, roots: Mapping[str, str] = MappingProxyType({})) -> Any:
    """Take out of a value, at any depth, what tells of a machine: absolute paths, private hosts, logins in addresses.

    A path keeps its last part, behind 'PATH_TO/', unless that may be the name of a user.

    Args:
        value (Any): The value; it stays as it is.
        roots (Mapping[str, str]): Folders of data, and what stands for each; what lies in them keeps its place there,
            so that ``--data-root`` finds it. Defaults to none.
    """
    if isinstance(value, dict):
        return {without_machine(key, roots): without_machine(item, roots) for key, item in value.items()
                if key not in LEFT_OUT}
    if isinstance(value, (list, tuple)):
        return type(value)(without_machine(item, roots) for item in value)
    if not isinstance(value, str):
        return value
    root = next((root for root in roots if f'{value}/'.startswith(root.rstrip('/') + '/')), None)
    return _public_text(value) if root is None else roots[root] + value[len(root.rstrip('/')):]


def _public_text(text: str) -> str:
    scheme, found, address = text.partition('://')
    if not found:
        return _last_part(PurePosixPath(PureWindowsPath(text).as_posix())) if ABSOLUTE.match(text) else text
    if scheme not in ('http', 'https'):
        return text if scheme in PUBLIC_SCHEMES else _last_part(PurePosixPath('/', address))
    try:
        parts = urlsplit(text)
    except ValueError:
        return PATH_TO
    host = parts.hostname or ''
    if PRIVATE_HOST.search(host) or _is_number(host):
        return _last_part(PurePosixPath('/host', parts.path.lstrip('/')))
    return parts._replace(netloc=parts.netloc.rpartition('@')[2], query='').geturl()


def _last_part(path: PurePosixPath) -> str:
    """'/data/coco/train.json' -> 'PATH_TO/train.json'; what is but two folders deep, '/home/NAME', -> 'PATH_TO/'."""
    return PATH_TO + (path.name if len(path.parts) > 3 else '')


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _literal(node: ast.expr) -> Any:
    """The value of an expression of literals, of ``dict(name=value)`` and ``inf``, as mmengine writes them."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        if node.args and not node.keywords and isinstance(node.args[0], ast.Dict):
            return _literal(node.args[0])
        if not node.args and all(keyword.arg for keyword in node.keywords):
            return {str(keyword.arg): _literal(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {ast.literal_eval(key): _literal(item) for key, item in zip(node.keys, node.values) if key}
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [_literal(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Name):
        return -_literal(node.operand)
    if isinstance(node, ast.Name) and node.id in ('inf', 'nan'):
        return float(node.id)
    return ast.literal_eval(node)
