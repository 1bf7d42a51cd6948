"""Reading configs, with ``package::file`` for every installed package that ships configs, ours among them.

mmengine resolves ``package::folder/file`` for the packages of a table in its source, looks for mmseg under the name of
one particular distribution, and knows no file outside a folder. ``load_config`` reads as mmengine does, and asks this
module instead where a ``_base_`` lies. Nothing of mmengine is changed.
"""
from __future__ import annotations

import threading
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType

from mmengine.config import Config

from .text import did_you_mean

# Of threads one reads at a time: mmengine switches ConfigDict for all of them while it reads a config that imports its
# bases, and ast.parse of Python 3.11 counts for all of them how deep its tree is (python/cpython#106905), and raises a
# SystemError now and then. A config may import a module that reads another.
_ONE_AT_A_TIME = threading.RLock()


def load_config(path: str | Path) -> Config:
    """Read a config file.

    ``mmengine.Config.fromfile`` reads our own configs with the same result. A config of yours may name one of ours, as
    in ``_base_ = 'res2net_mm::faster_rcnn_r2n50_coco.py'``: this function and all of our tools read that. mmengine's
    own reader refuses it, for it knows OpenMMLab's packages alone; give it the path of the file instead, which
    ``find_config`` returns.

    Args:
        path (str | Path): A file, or ``package::name`` for one that an installed package ships, such as
            ``res2net_mm::faster_rcnn_r2n50_coco.py``: see :func:`~.find_config`. Both may name such files in their
            ``_base_``.

    Returns:
        mmengine.Config: The config.

    Raises:
        FileNotFoundError: If the file, or one it is based on, does not exist.
        ModuleNotFoundError: If the package before ``::`` is not installed.
    """
    path = str(path)
    if '::' in path:
        path = str(_packaged_config(path))
    elif not Path(path).is_file():
        raise FileNotFoundError(f"config '{path}' does not exist{_suggestion(path, packaged_configs())}")
    with _ONE_AT_A_TIME:
        return _Reader.fromfile(path)


def find_config(name: str, package: str = 'res2net_mm') -> Path:
    """Find a config that a package ships, in whichever folder it lies.

    Args:
        name (str): Its path among the package's configs, such as ``detection/faster_rcnn_r50_coco.py``, or its file
            name alone. A file of ``_base_`` is found by its path only.
        package (str): The package's import name. Default: 'res2net_mm'.

    Returns:
        Path: The file.

    Raises:
        FileNotFoundError: If there is no such file, or several in different folders.
        ModuleNotFoundError: If the package is not installed.
    """
    folder = packaged_configs(package)
    if (folder / name).is_file():
        return folder / name
    same_name = [path for path in _experiments(folder) if path.name == name]
    if len(same_name) > 1:
        paths = ', '.join(str(path.relative_to(folder)) for path in same_name)
        raise FileNotFoundError(f"config '{package}::{name}': there are several, {paths}")
    if not same_name:
        raise FileNotFoundError(
            f"config '{package}::{name}': {folder / name} does not exist{_suggestion(name, folder)}")
    return same_name[0]


def config_name(config: str) -> str:
    """The name of a config's file without folder, package and suffix."""
    return Path(config.rpartition('::')[2]).stem


def packaged_configs(package: str = 'res2net_mm') -> Path:
    """Return the folder of the configs that a package ships."""
    return _root(package) / 'configs'


def demo_folder() -> Path:
    """Return the folder of the images and the small models that come with the package; demo/README.md lists them."""
    return _root('res2net_mm', 'demo') / 'demo'


def demo_weights() -> dict[str, Path]:
    """The weights of the small models that come with the package, by the names of their configs."""
    return {path.stem: path for path in sorted((demo_folder() / 'weights').glob('*.safetensors'))}


def tool_path(name: str) -> Path:
    """Return the script of one of our tools, such as ``train.py``, in whichever folder of ``tools`` it lies."""
    folder = _root('res2net_mm') / 'tools'
    return next((path for path in sorted(folder.rglob('*')) if path.name == name), folder / name)


def _root(package: str, part: str = 'configs') -> Path:
    """The folder that holds a package's configs, tools and demo: its ``.mim``, or the root of a checkout.

    An editable install that is older than the checkout has a ``.mim`` without the newest ``part``.
    """
    spec = find_spec(package) if package else None
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the package '{package}' is not installed")
    folder = Path(spec.origin).parent
    return next((root for root in (folder / '.mim', folder.parent) if (root / part).is_dir()), folder / '.mim')


def _packaged_config(name: str) -> Path:
    """The file of ``package::file``."""
    package, _, file = name.partition('::')
    try:
        return find_config(file, package)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"config '{name}': {error}") from error


def _base_path(base: str, filename: str) -> tuple[str, str | None]:
    """What mmengine asks of each ``_base_``: its path, and the scope that its ``type=...`` are looked up in."""
    if '::' not in base:
        return str(Path(filename).parent / base), None
    package = base.partition('::')[0]
    # Our configs are written in the scope of the toolbox that they are for, and say so in default_scope.
    return str(_packaged_config(base)), None if package == 'res2net_mm' else package


def _experiments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob('*.py') if '_base_' not in path.relative_to(folder).parts)


def _suggestion(name: str, folder: Path) -> str:
    paths = {path.name: str(path.relative_to(folder)) for path in _experiments(folder)}
    return did_you_mean(Path(name).name, paths, paths, form='; {}', cutoff=0.4)


class _Reader(Config):
    """mmengine's reader of files, which asks ``_base_path`` where a base lies; what it reads is a plain Config.

    mmengine's functions call each other as ``Config.NAME``, so that overriding one of them in a subclass has no effect.
    Those that lead to ``_get_cfg_path`` are therefore copied, with this class under the name ``Config``.
    """

    def __new__(cls, *args, **kwargs):
        return Config(*args, **kwargs)

    _get_cfg_path = staticmethod(_base_path)


def _with_our_reader(function: FunctionType) -> FunctionType:
    names = {**function.__globals__, 'Config': _Reader}
    return FunctionType(function.__code__, names, function.__name__, function.__defaults__)


for _name in ('fromfile', '_file2dict'):
    setattr(_Reader, _name, staticmethod(_with_our_reader(getattr(Config, _name))))
