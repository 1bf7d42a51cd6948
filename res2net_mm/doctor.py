"""``python -m res2net_mm.doctor``: what is installed, what is wrong, and the command that mends it.

Exits with 0 if every task whose packages are installed will run, with 1 otherwise. Every package is imported in a
process of its own, so that a broken one is reported, whatever it does. ``cli/doctor.py`` prints what ``diagnose``
finds.
"""
from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

PIP = f'{sys.executable} -m pip install'
BUILD_LOCALLY = '--force-reinstall --no-deps --no-cache-dir --no-build-isolation --no-binary'


@dataclass(frozen=True)
class Check:
    """One package to try, or one part of it.

    Attributes:
        name (str): What the report calls it.
        module (str): The module that must be installed for the check to count: where it is not, the report says so,
            and nothing is wrong.
        code (str): Python code that prints a version or the like, or fails.
        mend (str): The command that mends it.
        required (bool): Whether something is wrong if the module is not installed.
    """
    name: str
    module: str
    code: str
    mend: str
    required: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a check ended: ``status`` is 'ok', 'absent' or 'FAILED', ``message`` its version or its error."""
    status: str
    message: str


@dataclass(frozen=True)
class Diagnosis:
    """The state of an installation.

    Attributes:
        outcomes (dict[str, Outcome]): By the name of the check, in the order of the report.
        clashes (list[tuple[str, str]]): Pairs of installed distributions that overwrite each other.
        tasks (dict[str, list[str] | None]): What every task lacks, by name; None: its toolbox is not installed.
        mends (dict[str, str]): The command for everything that is broken, in the order in which they are to be run.
        healthy (bool): Whether every task whose toolbox is installed will run.
    """
    outcomes: dict[str, Outcome]
    clashes: list[tuple[str, str]]
    tasks: dict[str, list[str] | None]
    mends: dict[str, str]
    healthy: bool


CORE = ('torch', 'numpy', 'opencv', 'mmengine', 'mmcv')
# What a task needs beside CORE; it is there if the first one is.
TASKS = {
    'core': ('mmcv', ),
    'det': ('mmdet', 'mmcv._ext', 'torchvision'),
    'seg': ('mmseg', 'mmcv._ext'),
    'pose': ('mmpose', 'mmcv._ext', 'mmdet', 'xtcocotools'),
    'cls': ('mmpretrain', ),
    'saliency': ('pysodmetrics', 'mmseg', 'mmcv._ext'),
    'export': ('onnx', 'onnxruntime', 'onnxscript', 'openvino'),
    'int8': ('nncf', 'onnxruntime'),
    'app': ('gradio', ),
    'tracking': ('tensorboard', ),
}
# Packages that need no more than to be imported, and our extra that installs them.
EXTRAS = {'onnx': 'export', 'onnxruntime': 'export', 'onnxscript': 'export', 'openvino': 'export', 'nncf': 'int8',
          'gradio': 'app', 'tensorboard': 'tracking'}
NEED_OPERATORS = ('mmdet', 'mmseg', 'mmpose')  # mmcv may be pure Python without them
# Distributions that put their files into the same folder: whichever came last has half overwritten the other.
RIVALS = (('mmengine', 'onedl-mmengine'), ('mmcv', 'onedl-mmcv'), ('mmcv', 'mmcv-lite'), ('mmdet', 'onedl-mmdetection'),
          ('mmsegmentation', 'onedl-mmsegmentation'), ('mmpretrain', 'onedl-mmpretrain'))
# mmpretrain takes it for missing where one of its names is, and then fails; so does mmdet, which imports mmpretrain.
TRANSFORMERS = '''
import transformers
from importlib.util import find_spec
if find_spec("mmpretrain"):
    from transformers.pytorch_utils import find_pruneable_heads_and_indices
print(transformers.__version__)'''


def all_checks() -> list[Check]:
    """Every check, in the order in which what they find is to be mended."""
    mmcv = 'mmcv' if is_installed('mmcv') and not is_installed('onedl-mmcv') else 'onedl-mmcv'
    torch = f'{PIP} --upgrade torch torchvision'
    pose = toolbox_check('mmpose', 'pose')
    return [
        Check('torch', 'torch', 'import torch; print(torch.__version__)', torch, required=True),
        Check('torchvision', 'torchvision',
              'import torch, torchvision; torchvision.ops.nms(torch.rand(1, 4), torch.rand(1), 0.5); '
              'print(torchvision.__version__)', torch),
        Check('CUDA', 'torch',
              'import torch; print(f"{torch.version.cuda}, {torch.cuda.get_device_name()}" '
              'if torch.cuda.is_available() else "no GPU: everything runs on the CPU")', torch),
        Check('numpy', 'numpy', 'import numpy; print(numpy.__version__)', f'{PIP} numpy', required=True),
        Check('opencv', 'cv2', 'import cv2; print(cv2.__version__)',
              f"{sys.executable} -m pip uninstall -y opencv-python && {PIP} --force-reinstall --no-deps "
              "'opencv-python-headless<4.13'"),
        Check('mmengine', 'mmengine', 'import mmengine; print(mmengine.__version__)', f'{PIP} onedl-mmengine',
              required=True),
        Check('mmcv', 'mmcv', 'import mmcv; print(mmcv.__version__)', build_command(mmcv), required=True),
        Check('mmcv._ext', operators_owner(),
              'import torch; from mmcv.ops import nms; nms(torch.rand(2, 4), torch.rand(2), 0.5); '
              'print("compiled ops load")',
              build_command(mmcv)),
        Check('xtcocotools', 'xtcocotools',
              'import numpy, xtcocotools._mask; print("built for numpy " + numpy.__version__.split(".")[0])',
              build_command('xtcocotools')),
        Check('transformers', 'transformers', TRANSFORMERS, f"{PIP} 'transformers<5'"),
        toolbox_check('mmdet', 'det'),
        toolbox_check('mmseg', 'seg'),
        replace(pose, mend=f'{pose.mend} && {PIP} --no-deps mmpose==1.3.2'),
        toolbox_check('mmpretrain', 'cls'),
        Check('pysodmetrics', 'py_sod_metrics', 'import py_sod_metrics; print("imports")',
              f"{PIP} 'res2net_mm[saliency]'"),
        *(Check(name, name, f'import {name}; print({name}.__version__)', f"{PIP} 'res2net_mm[{extra}]'")
          for name, extra in EXTRAS.items()),
    ]


def toolbox_check(name: str, extra: str) -> Check:
    """A toolbox must import with its models, and its registry must find our backbone.

    Args:
        name (str): The toolbox's module.
        extra (str): The extra of this package that installs it.
    """
    code = (f'import torch, {name}.models\n'
            'from mmengine.registry import init_default_scope\n'
            f'from {name}.registry import MODELS\n'
            f'init_default_scope("{name}")\n'
            'model = MODELS.build(dict(type="res2net_mm.Res2Net", depth=26, base_channels=16))\n'
            'assert type(model).__module__ == "res2net_mm.models.backbones.res2net", type(model)\n'
            f'print({name}.__version__ + ", resolves res2net_mm.Res2Net")')
    return Check(name, name, code, f"{PIP} 'res2net_mm[{extra}]'")


def operators_owner() -> str:
    """The module to whose presence mmcv's compiled operators belong: mmcv, if it was built with them, or a toolbox."""
    mmcv = find_spec('mmcv')
    folders = mmcv.submodule_search_locations if mmcv else None
    if any(file.name.startswith('_ext.') for folder in folders or () for file in Path(folder).iterdir()):
        return 'mmcv'
    return next((toolbox for toolbox in NEED_OPERATORS if find_spec(toolbox)), NEED_OPERATORS[0])


def build_command(distribution: str) -> str:
    """The command that builds a distribution anew against the installed torch and numpy."""
    pin = f'{distribution}=={metadata.version(distribution)}' if is_installed(distribution) else distribution
    return (f"{PIP} 'setuptools<81' wheel cython ninja && MMCV_WITH_OPS=1 CFLAGS='-g0 -O2' "
            f'{PIP} {BUILD_LOCALLY} {distribution} {pin}')


def is_installed(distribution: str) -> bool:
    """Whether pip knows a distribution, which may have another name than its module."""
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def run_check(check: Check) -> Outcome:
    """Run the code of a check in a process of its own."""
    if find_spec(check.module) is None:
        return Outcome('FAILED' if check.required else 'absent', 'not installed')
    result = subprocess.run([sys.executable, '-W', 'ignore', '-c', check.code], capture_output=True, text=True)
    lines = (result.stdout if result.returncode == 0 else result.stderr).strip().splitlines()
    message = lines[-1] if lines else f'the process died with status {result.returncode}'
    return Outcome('ok' if result.returncode == 0 else 'FAILED', message)


def diagnose() -> Diagnosis:
    """Run all checks, and say which tasks will run and what mends the others."""
    checks = all_checks()
    with ThreadPoolExecutor(4) as pool:
        outcomes = dict(zip([check.name for check in checks], pool.map(run_check, checks)))

    failed = {name for name, outcome in outcomes.items() if outcome.status == 'FAILED'}
    # A toolbox that fails beside its compiled parts fails because of them.
    symptoms = {needs[0] for needs in TASKS.values() if failed.intersection(needs[1:])}
    mends = {check.name: check.mend for check in checks if check.name in failed - symptoms}
    clashes = [pair for pair in RIVALS if all(map(is_installed, pair))]
    for pair in clashes:
        mends[pair[0]] = f'{sys.executable} -m pip uninstall -y {" ".join(pair)}, then install one of them again'

    def lacking(names: tuple[str, ...]) -> list[str]:
        return [name for name in names if outcomes[name].status != 'ok' or name in mends]

    tasks = {task: None if outcomes[needs[0]].status == 'absent' else lacking(CORE + needs)
             for task, needs in TASKS.items()}
    healthy = not any(tasks.values()) and not clashes and all(outcomes[name].status == 'ok' for name in CORE)
    return Diagnosis(outcomes, clashes, tasks, mends, healthy)


if __name__ == '__main__':
    from res2net_mm.cli.doctor import main
    sys.exit(main())
