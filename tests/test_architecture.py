"""The rooms of the package: who may import whom, who may end the process, what is typed, and names that occur once.

Every check reads sources, so that it also counts an import inside a function or under TYPE_CHECKING. What stands under
``if __name__ == '__main__'`` belongs to the command line, wherever it is written.
"""
import ast
import subprocess
import sys
import traceback
from collections import defaultdict
from pathlib import Path

import pytest
from helpers import ROOT

PACKAGE = 'res2net_mm'
ROWS = {  # a room may import those of lower rows, and no other of its own
    'version': 1, 'utils': 1,
    'registry': 2, 'checkpoints': 2,
    'models': 3,
    'datasets': 4, 'evaluation': 4, 'acceleration': 4,
    'engine': 5,
    'apis': 6, 'analysis': 6, 'benchmark': 6, 'reproduction': 6,
    'doctor': 7, 'weights': 7, 'cli': 7,
    '__init__': 8,  # of the package: names to look up later, and the version
}
LIGHT = ('version', 'utils', 'doctor', 'weights', 'cli', '__init__')  # rooms that import neither torch nor a toolbox
HEAVY = ('torch', 'torchvision', 'timm', 'onnx', 'onnxruntime', 'openvino', 'triton', 'mmengine', 'mmcv', 'mmdet',
         'mmseg', 'mmpose', 'mmpretrain')
LIGHT_OF_MMENGINE = ('mmengine.config', 'mmengine.registry')
MAX_LINES = 350
MAX_FUNCTION = 60  # lines, without the docstring
LONG_FUNCTIONS = {}  # of one piece: 'cli/train.py: train', and the reason why it reads better whole


# Sources are {path inside the package: text}; every check returns what it finds, 'PATH:LINE: ...'.


def sources(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob('*.py'))
            if '.mim' not in path.parts}


def walk(node):
    """Like ast.walk, without what stands under ``if __name__ == '__main__'``."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "__name__ == '__main__'"):
            yield from walk(child)


def module_name(path):
    """'cli/train.py' -> 'cli.train', 'cli/__init__.py' -> 'cli', '__init__.py' -> ''."""
    parts = path[:-len('.py')].split('/')
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def room(module):
    return module.partition('.')[0] or '__init__'


def imports(path, text):
    """Every import of a module, of our own package or not: its line, and the full names that it may be of."""
    package = [PACKAGE, *path.split('/')[:-1]]
    for node in walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, [alias.name]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            base = '.'.join(base + ([node.module] if node.module else []))
            yield from ((node.lineno, [f'{base}.{alias.name}', base]) for alias in node.names)


def own_imports(modules):
    """Every import of one of the modules by another: path and line, the importer and the imported module."""
    names = {module_name(path) for path in modules}
    for path, text in modules.items():
        for line, candidates in imports(path, text):
            inside = [name[len(PACKAGE) + 1:] for name in candidates if f'{name}.'.startswith(f'{PACKAGE}.')]
            known = [name for name in inside if name in names]
            if inside:
                yield f'{path}:{line}', module_name(path), known[0] if known else inside[-1]


def find_wrong_arrows(modules):
    """Imports of a room that stands higher, or beside."""
    faults = [f'{place}: {room(importer)} imports {room(imported)} ({imported or PACKAGE})'
              for place, importer, imported in own_imports(modules) if not may_import(room(importer), room(imported))]
    return list(dict.fromkeys(faults))


def may_import(importer, imported):
    if importer == imported or importer == 'cli':
        return importer == imported or imported != '__init__'
    if (importer, imported) == ('utils', 'version'):
        return True
    if importer == '__init__':
        return imported == 'version'
    return ROWS.get(imported, 9) < ROWS.get(importer, 0)


def find_circles(modules):
    """Modules that import each other, directly or by others."""
    reached = defaultdict(set)
    for _, importer, imported in own_imports(modules):
        reached[importer].add(imported)
    for middle in list(reached):
        for targets in reached.values():
            if middle in targets:
                targets |= reached[middle]
    circles = {tuple(sorted(other for other in targets if module in reached.get(other, ())))
               for module, targets in reached.items() if module in targets}
    return [f'circle: {", ".join(circle)}' for circle in sorted(circles)]


def find_process_ends(modules):
    """What only a command may do, outside of cli: parse arguments, end the process, print."""
    faults = []
    for path, text in modules.items():
        if room(module_name(path)) == 'cli':
            continue
        faults += [f'{path}:{line}: imports {names[0]}' for line, names in imports(path, text)
                   if 'argparse' in names or names[0] == 'sys.exit']
        tree = ast.parse(text)
        # A function may print through an argument, also if it is called print.
        printers = {node for function in ast.walk(tree) if isinstance(function, ast.FunctionDef)
                    and any(argument.arg == 'print' for argument in all_arguments(function))
                    for node in ast.walk(function)}
        for node in walk(tree):
            code = ast.unparse(node) if isinstance(node, (ast.Attribute, ast.Name)) else ''
            if code in ('sys.exit', 'os._exit', 'SystemExit', 'parser.exit', 'parser.error'):
                faults.append(f'{path}:{node.lineno}: {code}')
            elif (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node not in printers
                  and node.func.id in ('exit', 'quit', 'print', 'console')):
                faults.append(f'{path}:{node.lineno}: {node.func.id}(...)')
    return list(dict.fromkeys(faults))


def find_repeated_names(modules):
    """Public functions of one name in two modules of a room."""
    places = defaultdict(list)
    for path, text in modules.items():
        of_room = room(module_name(path))
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith('_') and (of_room, node.name) != (
                    'cli', 'main'):
                places[of_room, node.name].append(path)
    return [f'{name}: in {" and ".join(paths)}' for (_, name), paths in places.items() if len(set(paths)) > 1]


def find_heavy_imports(modules):
    """Imports of torch or a toolbox that happen when a module of a light room, or a room's __init__, is imported."""
    faults = []
    for path, text in modules.items():
        if room(module_name(path)) not in LIGHT and path != 'datasets/__init__.py':
            continue
        tree = ast.parse(text)
        tree.body = [statement for statement in tree.body if not isinstance(statement, (ast.FunctionDef, ast.ClassDef))
                     and not (isinstance(statement, ast.If) and ast.unparse(statement.test) == 'TYPE_CHECKING')]
        faults += [f'{path}: imports {names[-1]}' for _, names in imports(path, ast.unparse(tree))
                   if names[0].partition('.')[0] in HEAVY and not set(names) & set(LIGHT_OF_MMENGINE)]
    return list(dict.fromkeys(faults))


def find_long_code(modules):
    """Files and functions that are too long."""
    faults = [f'{path}: {len(text.splitlines())} lines' for path, text in modules.items()
              if len(text.splitlines()) > MAX_LINES]
    for path, text in modules.items():
        for name, function in functions(ast.parse(text)):
            docstring = function.body[0] if ast.get_docstring(function) else None
            lines = function.end_lineno - function.lineno + 1
            lines -= docstring.end_lineno - docstring.lineno + 1 if docstring else 0
            if lines > MAX_FUNCTION and f'{path}: {name}' not in LONG_FUNCTIONS:
                faults.append(f'{path}:{function.lineno}: {name} has {lines} lines')
    return faults


def find_untyped(modules):
    """Public functions and methods without a type for an argument or for what they return."""
    faults = []
    for path, text in modules.items():
        for name, function in functions(ast.parse(text)):
            private = any(part.startswith('_') and part != '__init__' for part in name.split('.'))
            kernel = any('triton.jit' in ast.unparse(decorator) for decorator in function.decorator_list)
            if private or kernel:  # Triton reads annotations of a kernel as types of its own
                continue
            untyped = [argument.arg for argument in all_arguments(function)
                       if not argument.annotation and argument.arg not in ('self', 'cls')]
            untyped += ['return'] if not function.returns and function.name != '__init__' else []
            if untyped:
                faults.append(f'{path}:{function.lineno}: {name} has no type for {", ".join(untyped)}')
    return faults


def functions(node, prefix=''):
    """Functions of a module and methods of its classes, by name; not those inside of functions."""
    for child in node.body:
        if isinstance(child, ast.FunctionDef):
            yield prefix + child.name, child
        elif isinstance(child, (ast.ClassDef, ast.If)):
            yield from functions(child, f'{child.name}.' if isinstance(child, ast.ClassDef) else prefix)


def all_arguments(function):
    arguments = function.args
    extra = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra]


def find_bad_tools(modules):
    """Tools that import anything but one name of cli."""
    faults = []
    for path, text in modules.items():
        names = [candidates[0] for _, candidates in imports(path, text)]
        if len(names) != 1 or not names[0].startswith(f'{PACKAGE}.cli.'):
            faults.append(f'{path}: imports {", ".join(names) or "nothing"}')
    return faults


CHECKS = (find_wrong_arrows, find_circles, find_process_ends, find_repeated_names, find_heavy_imports, find_long_code,
          find_untyped)


@pytest.mark.parametrize('check', CHECKS)
def test_package(check):
    faults = check(sources(ROOT / PACKAGE))
    assert not faults, f'{len(faults)} faults\n' + '\n'.join(faults)


def test_tools():
    faults = find_bad_tools(sources(ROOT / 'tools'))
    assert not faults, '\n'.join(faults)


def test_every_room_has_a_row():
    assert {room(module_name(path)) for path in sources(ROOT / PACKAGE)} <= set(ROWS)


# What the checks are worth: each finds a fault that is planted, and nothing in what is allowed.

LONG = 'def long():\n' + '    pass\n' * MAX_FUNCTION
PLANTED = [
    (find_wrong_arrows, {'utils/text.py': 'from ..cli import command'}, 'utils imports cli'),
    (find_wrong_arrows, {'models/base.py': 'def f():\n    from ..engine.hooks import x'}, 'base.py:2: models imports'),
    (find_wrong_arrows, {'models/base.py': 'if TYPE_CHECKING:\n    from res2net_mm.engine import x'}, 'imports engine'),
    (find_wrong_arrows, {'datasets/a.py': 'import res2net_mm.evaluation.b'}, 'datasets imports evaluation'),
    (find_wrong_arrows, {'analysis/a.py': 'from res2net_mm import Res2Net'}, 'analysis imports __init__'),
    (find_wrong_arrows, {'doctor.py': 'from .cli.doctor import main'}, 'doctor imports cli'),
    (find_wrong_arrows, {'__init__.py': 'from .models import Res2Net'}, '__init__ imports models'),
    (find_wrong_arrows, {'attic/a.py': 'from ..utils import text'}, 'attic imports utils'),
    (find_circles, {'models/a.py': 'from .b import x', 'models/b.py': 'def f():\n    from . import a'}, 'models.a'),
    (find_circles, {'utils/a.py': 'from .b import x', 'utils/b.py': 'from .c import x',
                    'utils/c.py': 'import res2net_mm.utils.a'}, 'utils.a, utils.b, utils.c'),
    (find_circles, {'models/__init__.py': 'from .a import x', 'models/a.py': 'from . import x'}, 'models, models.a'),
    (find_process_ends, {'utils/a.py': 'import sys\nsys.exit(1)'}, 'a.py:2: sys.exit'),
    (find_process_ends, {'utils/a.py': 'from sys import exit'}, 'sys.exit'),
    (find_process_ends, {'utils/a.py': 'exit(1)'}, 'exit(...)'),
    (find_process_ends, {'utils/a.py': 'raise SystemExit(1)'}, 'SystemExit'),
    (find_process_ends, {'utils/a.py': 'try:\n    pass\nexcept SystemExit:\n    pass'}, 'SystemExit'),
    (find_process_ends, {'utils/a.py': 'def f(parser):\n    parser.error("no")'}, 'parser.error'),
    (find_process_ends, {'utils/a.py': 'from argparse import Namespace'}, 'argparse'),
    (find_process_ends, {'utils/a.py': 'def f():\n    print(1)'}, 'print(...)'),
    (find_process_ends, {'utils/a.py': 'console().print(1)'}, 'console(...)'),
    (find_repeated_names, {'benchmark/a.py': 'def draw(): pass', 'benchmark/x/b.py': 'def draw(): pass'},
     'draw: in benchmark/a.py and benchmark/x/b.py'),
    (find_heavy_imports, {'utils/a.py': '"""Text."""\nimport torch.nn'}, 'a.py: imports torch.nn'),
    (find_heavy_imports, {'cli/a.py': 'try:\n    import torch\nexcept ImportError:\n    pass'}, 'torch'),
    (find_heavy_imports, {'cli/a.py': 'from mmengine.runner import Runner'}, 'mmengine.runner'),
    (find_heavy_imports, {'datasets/__init__.py': 'from mmseg.datasets import x'}, 'mmseg'),
    (find_long_code, {'utils/a.py': 'x = 1\n' * (MAX_LINES + 1)}, '351 lines'),
    (find_long_code, {'utils/a.py': LONG}, 'long has 61 lines'),
    (find_long_code, {'utils/a.py': 'class A:\n' + ''.join(f'  {line}\n' for line in LONG.splitlines())}, 'A.long'),
    (find_untyped, {'utils/a.py': 'def f(x, *y, z: int = 1) -> int: pass'}, 'f has no type for x, y'),
    (find_untyped, {'utils/a.py': 'class A:\n    def f(self): pass'}, 'A.f has no type for return'),
    (find_untyped, {'utils/a.py': 'class A:\n    def __init__(self, x): pass'}, 'A.__init__ has no type for x'),
    (find_bad_tools, {'a.py': 'from res2net_mm.cli.a import main\nimport os'}, 'a.py: imports'),
    (find_bad_tools, {'misc/a.py': 'from res2net_mm.analysis.a import main'}, 'imports res2net_mm.analysis.a.main'),
]
ALLOWED = {
    '__init__.py': 'from .version import __version__',
    'version.py': '__version__ = "1"',
    'utils/a.py': 'from ..version import __version__\ndef f() -> None:\n    import torch\n    raise ValueError',
    'utils/text.py': 'if TYPE_CHECKING:\n    import torch\ndef console() -> None: pass',
    'models/__init__.py': 'from .base import Base',
    'models/base.py': 'import torch\nfrom mmcv.cnn import x\nfrom ..registry import MODELS\nclass Base:\n'
                      '    def __init__(self, x: int): pass\n    def f(self) -> int: pass\n    def _g(self, x): pass',
    'engine/a.py': 'from ..datasets import b\ndef f(print: object) -> None:\n    print(1)\ndef _g(x): pass',
    'cli/a.py': 'import argparse, sys\nfrom .. import doctor\ndef main() -> None:\n    print(1)\n    sys.exit(1)',
    'cli/b.py': 'from .a import f\ndef main() -> None:\n    from torch import nn',
    'doctor.py': 'if __name__ == "__main__":\n    from res2net_mm.cli.doctor import main\n    sys.exit(main())',
    'registry.py': '', 'datasets/__init__.py': '', 'datasets/b.py': '',
}


@pytest.mark.parametrize(('check', 'modules', 'fault'), PLANTED)
def test_a_planted_fault_is_found(check, modules, fault):
    faults = check(modules)
    assert len(faults) == 1 and fault in faults[0], faults


@pytest.mark.parametrize('check', CHECKS)
def test_what_is_allowed_passes(check):
    assert check(ALLOWED) == []
    assert find_bad_tools({'a.py': '"""Do it."""\nfrom res2net_mm.cli.a import main\nmain()'}) == []


# While the package runs.


def test_commands_choose_the_device_before_torch_is_imported():
    code = ('import sys, res2net_mm.cli.train, res2net_mm.cli.test, res2net_mm.datasets; '
            'print([name for name in ("torch", "mmcv", "mmengine.runner", "mmengine.device") if name in sys.modules])')
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout == '[]\n'


def test_from_a_config_to_the_convolution(monkeypatch):
    """The longest way of ``scales=4``: config, registry, models; no room is entered twice."""
    from torch import nn

    from res2net_mm import load_config, registry
    config = load_config('res2net_mm::faster_rcnn_r2n50_coco.py').model.backbone
    assert config.type == 'res2net_mm.Res2Net' and registry.MODELS._locations == ['res2net_mm.models']
    ways, build = set(), nn.Conv2d.__init__

    def record(self, *args, **kwargs):
        files = [Path(frame.filename) for frame in traceback.extract_stack()]
        rooms = [path.relative_to(ROOT / PACKAGE).parts[0] for path in files if ROOT / PACKAGE in path.parents]
        ways.add(tuple(name for previous, name in zip(['', *rooms], rooms) if name != previous))
        build(self, *args, **kwargs)

    monkeypatch.setattr(nn.Conv2d, '__init__', record)
    model = registry.MODELS.build(dict(config, scales=4, init_cfg=None))
    assert ways == {('models', )} and len(model.layer1[0].convs) == 3
