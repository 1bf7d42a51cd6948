"""Reading configs, with ``package::file`` for every installed package that ships configs, ours among them.

mmengine resolves ``package::folder/file`` for the packages of a table in its source, looks for mmseg under the name of
one particular distribution, and knows no file outside a folder. So ``load_config`` resolves such names itself while
mmengine reads a config; nothing of mmengine is changed outside that call.
"""
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

from mmengine.config import Config


def load_config(path):
    """Read a config file.

    Args:
        path (str | Path): A file, or ``package::name`` for one that an installed package ships, such as
            ``res2net_mm::faster_rcnn_r2n50_coco.py``. Both may name such files in their ``_base_``.

    Returns:
        mmengine.Config: The config.

    Raises:
        FileNotFoundError: If the file, or one it is based on, does not exist.
        ModuleNotFoundError: If the package before ``::`` is not installed.
    """
    path = str(path)
    if '::' in path:
        path = packaged_config(path)
    elif not Path(path).is_file():
        raise FileNotFoundError(f"config '{path}' does not exist{_suggestion(Path(path).name, packaged_configs())}")
    with mock.patch.object(Config, '_get_cfg_path', staticmethod(_base_path)):
        return Config.fromfile(path)


def packaged_config(name):
    """The path of ``package::file``: the file of that name under the package's ``.mim/configs``."""
    package, _, file = name.partition('::')
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"config '{name}': the package '{package}' is not installed")
    path = packaged_configs(package) / file
    if not path.is_file():
        raise FileNotFoundError(f"config '{name}': {path} does not exist{_suggestion(file, path.parent)}")
    return str(path)


def packaged_configs(package='res2net_mm'):
    """The folder of the configs that an installed package ships."""
    return Path(find_spec(package).origin).parent / '.mim' / 'configs'


def _base_path(base, filename):
    """What mmengine asks of each ``_base_``: its path, and the scope that its ``type=...`` are looked up in."""
    if '::' not in base:
        return str(Path(filename).parent / base), None
    package = base.partition('::')[0]
    # Our configs are written in the scope of the toolbox that they are for, and say so in default_scope.
    return packaged_config(base), None if package == 'res2net_mm' else package


def _suggestion(name, folder):
    close = get_close_matches(name, [path.name for path in folder.glob('*.py')], n=3, cutoff=0.4)
    return f'; did you mean {" or ".join(close)}?' if close else ''
