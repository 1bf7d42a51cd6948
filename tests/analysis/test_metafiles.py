"""configs/*/metafile.yml: written by this code, with addresses that ``mim`` can download."""
import pytest
import yaml
from helpers import CONFIGS, ROOT

from res2net_mm.analysis import metafiles
from res2net_mm.analysis.metafiles import FOLDERS, RESNETS, find_address, metafile
from res2net_mm.models.pretrained import find_weights
from res2net_mm.models.public_weights import WEIGHTS, find_tested_weights

# What loads many configs with bases in the toolboxes takes seconds.
FAST = ('small', 'saliency', 'pose')


@pytest.mark.parametrize('folder', [folder if folder in FAST else pytest.param(folder, marks=pytest.mark.slow)
                                    for folder in FOLDERS])
def test_they_are_written_by_this_code(folder):
    committed = (CONFIGS / folder / 'metafile.yml').read_text(encoding='utf-8')
    assert committed == metafile(folder), 'python -m res2net_mm.analysis.metafiles'


def test_the_index_has_every_folder():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert sorted(index['Import']) == sorted(f'configs/{folder}/metafile.yml' for folder in FOLDERS)


def test_addresses_are_direct():
    """mim names a file by the end of its address, so that the hub's would all be model.safetensors."""
    known = {*RESNETS.values(), *map(find_address, WEIGHTS)}
    for folder in FOLDERS:
        for model in yaml.safe_load((CONFIGS / folder / 'metafile.yml').read_text())['Models']:
            if 'Weights' in model:
                assert model['Weights'] in known and model['Weights'].endswith('.pth')


def test_published_models_have_their_weights_and_results():
    models = {model['Name']: model for folder in FOLDERS
              for model in yaml.safe_load((CONFIGS / folder / 'metafile.yml').read_text())['Models']}
    for weights in WEIGHTS:
        if weights.config:
            results = [value for result in models[weights.name]['Results'] for value in result['Metrics'].values()]
            assert results == list(weights.accuracies[0].values)
            assert models[weights.name]['Weights'] == weights.files[0].url
    assert models['imagenet_r2n50_26w4s']['Results'][0]['Metrics'] == {'Top 1 Accuracy': 77.99, 'Top 5 Accuracy': 93.85}
    for name in ('vfnet_r2n101_v1b_coco', 'mask_rcnn_r2n101_26w4s_coco'):  # these start from ImageNet weights
        assert 'Results' not in models[name] and 'res2net101' in models[name]['Weights']
    assert 'Weights' not in models['mask_rcnn_r2n50_18w6s_coco']


@pytest.mark.parametrize('name, collection', [
    ('faster_rcnn_c4_r2n50_voc07', 'Faster R-CNN with Res2Net'),
    ('cascade_mask_rcnn_r2n101_v1b_coco', 'Cascade Mask R-CNN with Res2Net')])
def test_the_longest_start_decides(name, collection):
    assert metafiles._collection(name, list(metafiles.COLLECTIONS)).name == collection
    assert metafiles._collection('yolo', list(metafiles.COLLECTIONS)) is None


def test_a_config_without_weights_of_its_own(tmp_path):
    path = tmp_path / 'x.py'
    path.write_text('"""Nothing."""')
    assert find_tested_weights(path) is None
    path.write_text('"""python tools/test.py configs/x.py res2net_mm://res2net50_vd_ssld"""')
    assert find_tested_weights(path) is find_weights('res2net50_vd_ssld')
