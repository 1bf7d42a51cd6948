"""``python -m res2net_mm.doctor``: what is installed, what is wrong, and the command that mends it.

Exits with 0 if every task whose packages are installed will run, with 1 otherwise. Every package is imported in a
process of its own, so that a broken one is reported, whatever it does.
"""
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from importlib.util import find_spec
from typing import NamedTuple

from .version import __version__

PIP = f'{sys.executable} -m pip install'
BUILD_HERE = '--force-reinstall --no-deps --no-cache-dir --no-build-isolation --no-binary'


class Check(NamedTuple):
    """One row of the table.

    ``code`` prints what was found, or fails. ``module`` must be installed for the check to count: where it is not, the
    row says so and nothing is wrong.
    """
    name: str
    module: str
    code: str
    mend: str
    required: bool = False


def toolbox(name, extra, also=''):
    """A toolbox must import with its models, and its registry must find our backbone."""
    code = (f'import torch, {name}.models{also}\n'
            'from mmengine.registry import init_default_scope\n'
            f'from {name}.registry import MODELS\n'
            f'init_default_scope("{name}")\n'
            'model = MODELS.build(dict(type="res2net_mm.Res2Net", depth=26, base_channels=16))\n'
            'assert type(model).__module__ == "res2net_mm.models.backbones.res2net", type(model)\n'
            f'print({name}.__version__ + ", resolves res2net_mm.Res2Net")')
    return Check(name, name, code, f"{PIP} 'res2net_mm[{extra}]'")


def compiled(distribution):
    """The command that builds a distribution anew against the installed torch and numpy."""
    version = next((f'=={metadata.version(name)}' for name in [distribution] if installed(name)), '')
    return (f"{PIP} 'setuptools<81' wheel cython ninja && MMCV_WITH_OPS=1 CFLAGS='-g0 -O2' "
            f'{PIP} {BUILD_HERE} {distribution} {distribution}{version}')


def installed(distribution):
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def checks():
    mmcv = 'mmcv' if installed('mmcv') and not installed('onedl-mmcv') else 'onedl-mmcv'
    torch = f'{PIP} --upgrade torch torchvision'
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
        Check('mmcv', 'mmcv', 'import mmcv; print(mmcv.__version__)', compiled(mmcv), required=True),
        Check('mmcv._ext', 'mmcv',
              'import torch; from mmcv.ops import nms; nms(torch.rand(2, 4), torch.rand(2), 0.5); '
              'print("compiled ops load")',
              compiled(mmcv)),
        Check('xtcocotools', 'xtcocotools',
              'import numpy, xtcocotools._mask; print("built for numpy " + numpy.__version__.split(".")[0])',
              compiled('xtcocotools')),
        toolbox('mmdet', 'det'),
        toolbox('mmseg', 'seg'),
        toolbox('mmpose', 'pose')._replace(mend=f"{PIP} 'res2net_mm[pose]' && {PIP} --no-deps mmpose==1.3.2"),
        toolbox('mmpretrain', 'cls'),
        Check('pysodmetrics', 'py_sod_metrics', 'import py_sod_metrics; print("imports")',
              f"{PIP} 'res2net_mm[saliency]'"),
        Check('onnx', 'onnx', 'import onnx; print(onnx.__version__)', f"{PIP} 'res2net_mm[export]'"),
        Check('onnxruntime', 'onnxruntime', 'import onnxruntime; print(onnxruntime.__version__)',
              f"{PIP} 'res2net_mm[export]'"),
    ]


CORE = ('torch', 'numpy', 'opencv', 'mmengine', 'mmcv')
# What a task needs beside CORE; it is there if the first one is.
TASKS = {
    'det': ('mmdet', 'mmcv._ext', 'torchvision'),
    'seg': ('mmseg', 'mmcv._ext'),
    'pose': ('mmpose', 'mmcv._ext', 'mmdet', 'xtcocotools'),
    'cls': ('mmpretrain', ),
    'saliency': ('pysodmetrics', 'mmseg', 'mmcv._ext'),
    'export': ('onnx', 'onnxruntime'),
}
# Distributions that put their files into the same folder: whichever came last has half overwritten the other.
RIVALS = (('mmengine', 'onedl-mmengine'), ('mmcv', 'onedl-mmcv'), ('mmcv', 'mmcv-lite'), ('mmdet', 'onedl-mmdetection'),
          ('mmsegmentation', 'onedl-mmsegmentation'), ('mmpretrain', 'onedl-mmpretrain'))


def run(check):
    """Returns ('ok' | 'absent' | 'FAILED', what was found or went wrong)."""
    if find_spec(check.module) is None:
        return ('FAILED' if check.required else 'absent'), 'not installed'
    result = subprocess.run([sys.executable, '-W', 'ignore', '-c', check.code], capture_output=True, text=True)
    lines = (result.stdout if result.returncode == 0 else result.stderr).strip().splitlines()
    said = lines[-1] if lines else f'the process died with status {result.returncode}'
    return ('ok' if result.returncode == 0 else 'FAILED'), said


def main():
    table = checks()
    with ThreadPoolExecutor(4) as pool:
        results = dict(zip([check.name for check in table], pool.map(run, table)))

    print(f'res2net_mm {__version__}, Python {sys.version.split()[0]}\n')
    for name, (status, said) in results.items():
        print(f'  {name:<14}{status:<8}{said}')

    failed = [check.name for check in table if results[check.name][0] == 'FAILED']
    # A toolbox that fails beside its compiled parts fails because of them.
    symptoms = [needs[0] for needs in TASKS.values() if set(needs[1:]) & set(failed)]
    mends = {check.name: check.mend for check in table if check.name in failed and check.name not in symptoms}
    for pair in RIVALS:
        if all(installed(name) for name in pair):
            print(f'  {pair[0]:<14}FAILED  {" and ".join(pair)} overwrite each other')
            mends[pair[0]] = f'{sys.executable} -m pip uninstall -y {" ".join(pair)}, then install one of them again'

    print()
    ready = all(results[name][0] == 'ok' for name in CORE) and not any(pair[0] in mends for pair in RIVALS)
    for task, needs in TASKS.items():
        lacking = [name for name in CORE + needs if results[name][0] != 'ok' or name in mends]
        if results[needs[0]][0] == 'absent':
            print(f"  {task:<14}-       {PIP} 'res2net_mm[{task}]' adds it")
        else:
            ready = ready and not lacking
            print(f'  {task:<14}{"FAILS   needs " + ", ".join(lacking) if lacking else "ready"}')

    if mends:
        print('\nTo mend, in this order; then run this again:')
        for name, command in mends.items():
            print(f'  {name}:\n    {command}')
    return 0 if ready else 1


if __name__ == '__main__':
    sys.exit(main())
