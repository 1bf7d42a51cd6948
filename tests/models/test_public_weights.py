"""The table of public weights: complete, consistent, without the dead host, and as the publishers' packages have it."""
import re
from pathlib import Path

import pytest
import torch
import yaml
from helpers import ROOT, config_path
from mmengine.registry import MODELS
from mmengine.runner.checkpoint import get_external_models

from res2net_mm import Res2Net, load_config
from res2net_mm.checkpoints.weights import HASH_IN_NAME, Preprocessing
from res2net_mm.models import public_weights as table
from res2net_mm.models.layers.bottle2neck import STAGE_POOLS
from res2net_mm.models.names import ARCHITECTURES, known_names, normalise_name, resolve
from res2net_mm.models.pretrained import find_weights
from res2net_mm.models.public_weights import BY_HAND, WEIGHTS

# Hosts in the order of trust: the hub, publishers, copies.
HOSTS = ('huggingface.co', 'shanghuagao.oss-cn-beijing.aliyuncs.com', 'paddle-imagenet-models-name.bj.bcebos.com',
         'mmassets.onedl.ai', 'pub-ed9ed750ddcc469da251e2d1a2cea382.r2.dev', 'github.com')
WITHOUT_ACCURACY = ('res2net101_v1d_26w_4s', 'res2net152_v1b_26w4s')
DETECTORS = [weights for weights in (*WEIGHTS, *BY_HAND) if weights.config]
every = pytest.mark.parametrize('weights', (*WEIGHTS, *BY_HAND), ids=lambda weights: weights.name)


def host(url):
    assert url.startswith('https://')
    return url.split('/')[2]


@every
def test_rows_are_complete(weights):
    assert weights.licence and weights.stage_pool in STAGE_POOLS
    assert resolve(weights.architecture).name == weights.architecture
    assert bool(weights.accuracies) == (weights.name not in WITHOUT_ACCURACY)
    for accuracy in weights.accuracies:
        assert accuracy.source and accuracy.protocol and all(0 < value < 100 for value in accuracy.values)
        assert len(accuracy.values) == len(accuracy.metric.split('/'))
    assert weights.preprocessing == (Preprocessing(input_size=1333, resize=800) if weights.config else Preprocessing())


@every
def test_files_are_consistent(weights):
    """Each has a host that lives, in the order of trust; what is said of a hash is what the name says."""
    assert bool(weights.files) == (weights in WEIGHTS) != bool(weights.page)
    order = [HOSTS.index(host(file.url)) for file in weights.files]
    assert order == sorted(set(order))
    for file in weights.files:
        in_name = HASH_IN_NAME.search(file.url)
        assert file.sha256[:8] == (in_name[1] if in_name else file.sha256[:8])
        assert re.fullmatch('(|[0-9a-f]{8}|[0-9a-f]{64})', file.sha256)
        assert file.size is None or 10**7 < file.size < 10**9
    names = {file.name for file in weights.files if not file.name.endswith('.safetensors')}
    assert len(names) == (1 if weights.files else 0), 'mirrors are the same file'
    if weights.page:
        assert host(weights.page) and weights.note


def test_counts():
    """All that the publishers list: 11 by the authors, 4 converted, 8 by Paddle, 5 detectors; and 3 by hand."""
    licences = [weights.licence for weights in WEIGHTS]
    assert [licences.count(licence) for licence in (table.AUTHORS_LICENCE, table.CONVERTED_LICENCE,
                                                    table.PADDLE_LICENCE, table.DETECTOR_LICENCE)] == [11, 4, 8, 5]
    assert len(WEIGHTS) == 28 and len(BY_HAND) == 3
    files = [file.name for weights in WEIGHTS for file in weights.files]
    assert sum(name.endswith('.pdparams') for name in files) == len({n for n in files if n.endswith('.pdparams')}) == 8


def test_every_name_means_one_row():
    named = [(normalise_name(name), weights) for weights in (*WEIGHTS, *BY_HAND)
             for name in (weights.name, *weights.aliases)]
    assert len({name for name, _ in named}) == len(named)
    for name, weights in named:
        assert find_weights(name) is find_weights(name.upper().replace('_', '-')) is weights
    for row in ARCHITECTURES:
        if row.name in [weights.name for weights in (*WEIGHTS, *BY_HAND)]:
            assert all(find_weights(alias) is find_weights(row.name) for alias in row.aliases)


@pytest.mark.parametrize('name, means', [
    ('res2net50_vd_ssld', 'res2net50_vd_ssld'), ('Res2Net50_vd_26w_4s_ssld', 'res2net50_vd_ssld'),
    ('Res2Net50_vd_26w_4s', 'res2net50_vd'), ('res2net200_vd_26w4s', 'res2net200_vd'),
    ('Res2Net50_26w_4s', 'res2net50_26w4s'), ('Faster-RCNN_r2n101_v1b_coco', 'faster_rcnn_r2n101_v1b_coco'),
    ('res2net152_v1b', 'res2net152_v1b_26w4s')])
def test_publishers_names(name, means):
    assert find_weights(name).name == means


def test_a_name_as_arch_builds_the_function():
    """Weights whose function their architecture does not compute by itself are no name of it."""
    for weights in WEIGHTS:
        row = resolve(weights.architecture)
        named = not weights.config and not weights.name.endswith('_paddle')
        assert (weights.name in known_names(row)) == named
        if named:
            assert row.arguments.get('stage_pool', 'always') == weights.stage_pool
    with torch.device('meta'):
        assert Res2Net(arch='Res2Net50_vd_26w_4s_ssld').stage_pool == 'strided_hierarchical'


@pytest.mark.parametrize('weights', DETECTORS, ids=lambda row: row.name)
def test_a_detectors_config_builds_its_function(weights):
    pytest.importorskip('mmdet')
    path = config_path(f'{weights.config}.py')
    cfg = load_config(path)
    images, images_of_config = weights.preprocessing, cfg.model.data_preprocessor
    with torch.device('meta'):
        assert MODELS.build(cfg.model.backbone).stage_pool == weights.stage_pool
    assert cfg.model.backbone.arch == weights.architecture
    assert find_weights(cfg.model.backbone.init_cfg.checkpoint.rpartition('/')[2]).architecture == weights.architecture
    assert (tuple(images_of_config.mean), tuple(images_of_config.std)) == (images.mean, images.std)
    assert images_of_config.bgr_to_rgb == (images.channels == 'RGB')
    scales = [step.scale for step in cfg.test_dataloader.dataset.pipeline if step.type == 'Resize']
    assert scales == [(images.input_size, images.resize)]
    text = path.read_text()
    assert f'tools/test.py configs/detection/{path.name} res2net_mm://{weights.name}\n' in text
    values = weights.accuracies[0].values
    assert ': ' + ', '.join(f'{kind} AP {value:.1f}' for kind, value in zip(('box', 'mask'), values)) + ' (' in text


def test_timm_says_the_same():
    """timm's package has the repositories of the hub, the images and the licence."""
    timm = pytest.importorskip('timm')
    for weights in WEIGHTS:
        for file in weights.files:
            if host(file.url) == 'huggingface.co':
                repository = '/'.join(file.url.split('/')[3:5])
                cfg = timm.get_pretrained_cfg(repository.partition('/')[2])
                images = weights.preprocessing
                assert (cfg.hf_hub_id, cfg.license) == (repository, 'unknown')
                assert cfg.input_size == (3, images.input_size, images.input_size)
                assert int(images.input_size / cfg.crop_pct) == images.resize
                assert cfg.interpolation == images.interpolation
                for ours, theirs in ((images.mean, cfg.mean), (images.std, cfg.std)):
                    assert ours == pytest.approx([255 * value for value in theirs])


def metafile_of(package):
    """The Res2Net models of an installed toolbox's metafile, by the path of their weights on the host."""
    folder = Path(pytest.importorskip(package).__file__).parent / '.mim' / 'configs' / 'res2net'
    return {model['Weights'].split('/', 3)[3]: [value for result in model['Results']
                                                for value in result['Metrics'].values()]
            for model in yaml.safe_load((folder / 'metafile.yml').read_text())['Models']}


@pytest.mark.parametrize('package, licence', [
    ('mmpretrain', table.CONVERTED_LICENCE), ('mmdet', table.DETECTOR_LICENCE)])
def test_openmmlabs_metafiles_say_the_same(package, licence):
    """Paths and accuracies; the hosts are others, with OpenMMLab's own packages."""
    ours = {weights.files[0].url.split('/', 3)[3]: list(weights.accuracies[0].values) for weights in WEIGHTS
            if weights.licence == licence and weights.accuracies}
    assert ours == metafile_of(package)


def test_mmengines_list_says_the_same():
    weights = find_weights('res2net101_v1d_26w_4s')
    assert weights.files[0].url.split('/', 3)[3] == get_external_models()[weights.name].split('/', 3)[3]


def test_the_dead_host_is_nowhere():
    """Whoever registers its name may answer; docs/weights.md alone names it, to say so."""
    files = [path for folder in ('res2net_mm', 'configs', 'tools', 'docs', 'requirements')
             for path in (ROOT / folder).rglob('*') if path.suffix in ('.py', '.yml', '.md', '.txt', '.sh')]
    assert len(files) > 300
    dead = [path.name for path in (*files, ROOT / 'README.md', ROOT / 'setup.py', ROOT / 'model-index.yml')
            if '://download.openmmlab.com' in path.read_text(encoding='utf-8')]
    assert dead == []
    assert '`download.openmmlab.com`' in (ROOT / 'docs' / 'weights.md').read_text(encoding='utf-8')
