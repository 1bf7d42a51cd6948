"""Package ``res2net_mm`` with its configs, tools and model index in ``res2net_mm/.mim``, where ``mim`` and
``_base_ = 'res2net_mm::...'`` look for them: symbolic links in an editable install, copies in a wheel."""
from __future__ import annotations

import os
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).resolve().parent
PAYLOAD = ('configs', 'demo', 'tools', 'model-index.yml')


class BuildWithPayload(build_py):
    """``build_py`` that also lays out ``res2net_mm/.mim``."""

    def run(self) -> None:
        package = Path(self.build_lib) / 'res2net_mm'
        if getattr(self, 'editable_mode', False):
            super().run()
            link_payload(ROOT / 'res2net_mm' / '.mim')
        else:
            shutil.rmtree(package, ignore_errors=True)  # or the wheel keeps an earlier build's files that are gone
            super().run()
            copy_payload(package / '.mim')

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        mim = Path(self.build_lib) / 'res2net_mm' / '.mim'
        return super().get_outputs(include_bytecode) + [str(path) for path in mim.rglob('*') if path.is_file()]


class EditableWithPath(editable_wheel):
    """``editable_wheel`` that tells mim where the package is.

    mim looks in site-packages, under the first line of ``top_level.txt``; an editable install has nothing there, so the
    line is the package's own path.
    """

    def run(self) -> None:
        if self.dist_info_dir is None:
            self._ensure_dist_info()
        (Path(self.dist_info_dir) / 'top_level.txt').write_text(f'{ROOT / "res2net_mm"}\nres2net_mm\n')
        super().run()


def link_payload(mim: Path) -> None:
    mim.mkdir(exist_ok=True)
    for name in PAYLOAD:
        link = mim / name
        if link.is_symlink():
            link.unlink()
        link.symlink_to(os.path.relpath(ROOT / name, mim))


def copy_payload(mim: Path) -> None:
    for name in PAYLOAD:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, mim / name, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy2(source, mim / name)


def version() -> str:
    scope: dict[str, str] = {}
    exec((ROOT / 'res2net_mm' / 'version.py').read_text(), scope)
    return scope['__version__']


# The OneDL forks keep OpenMMLab's import names and run on a current PyTorch. OpenMMLab's own packages serve as well:
# docs/install.md has their pins.
CORE = ['onedl-mmengine>=0.10.12,<0.11', 'onedl-mmcv>=2.3.6,<2.4', 'opencv-python<4.13']
DET = CORE + ['onedl-mmdetection>=3.5.1,<3.6']
SEG = CORE + ['onedl-mmsegmentation>=1.4.2,<1.5']
CLS = CORE + ['onedl-mmpretrain>=1.3.6,<1.4', 'timm']
# Everything that mmpose 1.3.2 needs but itself: its own requirements name chumpy, which builds on no current Python and
# is not used here, so mmpose is installed with --no-deps (docs/install.md).
POSE = DET + ['json-tricks', 'munkres', 'xtcocotools>=1.14.3', 'scipy', 'matplotlib', 'pillow']
ANALYSIS = ['grad-cam>=1.5.7,<2', 'matplotlib', 'scikit-learn', 'rich']
EXPORT = ['onnx', 'onnxruntime', 'onnxscript', 'openvino']

setup(
    version=version(),
    packages=find_packages(include=['res2net_mm', 'res2net_mm.*']),
    package_data={'res2net_mm': ['**/*.yml', '**/*.cpp', '**/*.h', '**/*.html', '**/README.md',
                                 'checkpoints/hashes.json', 'py.typed']},
    cmdclass={'build_py': BuildWithPayload, 'editable_wheel': EditableWithPath},
    extras_require={
        'core': CORE,  # the backbones alone, with mmcv's compiled operators or without (docs/plain_pytorch.md)
        'det': DET,
        'seg': SEG,
        'pose': POSE,
        'cls': CLS,
        'saliency': SEG + ['pysodmetrics'],
        'export': EXPORT,
        'int8': EXPORT + ['nncf'],
        'app': ['gradio>=6.31,<7'],
        'tracking': ['tensorboard'],
        'hub': ['huggingface_hub>=0.20'],
        'analysis': ANALYSIS,
        'docs': ['sphinx>=9.0,<10', 'myst-parser>=5.2,<6', 'furo>=2025.12.19', 'sphinx-copybutton>=0.5.2',
                 'linkify-it-py>=2.2,<3'],
        'dev': ['pytest', 'pytest-xdist', 'ruff', 'mypy', 'openmim', 'timm', 'build', 'setuptools>=77,<81', 'cython',
                'ninja', 'psutil', 'jupytext', 'scikit-learn'],  # its digits are the data of tools/misc/evidence.py
    },
)
