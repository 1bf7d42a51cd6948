"""Public datasets, from archives and folders that look like theirs, to what the configs read."""
import json
import shutil
import tarfile
import zipfile

import cv2
import numpy as np
import pytest
from helpers import expect_failure

from res2net_mm.cli.prepare_data import NAMES, main
from res2net_mm.datasets.image_folders import write_image_of_class
from res2net_mm.datasets.prepare import CIFAR10_CLASSES, DATASETS, prepare_data
from res2net_mm.utils.errors import UserError


def write_pairs(folder, masks, names):
    for name in names:
        for kind, suffix in (('images', 'jpg'), (masks, 'png')):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / kind / f'{name}.{suffix}'), np.zeros((4, 5, 3), np.uint8))


def read_list(path):
    return path.read_text().split()


def zip_of(folder, archive):
    with zipfile.ZipFile(archive, 'w') as file:
        for path in sorted(folder.rglob('*')):
            file.write(path, path.relative_to(folder.parent))
    return archive


def test_the_command_knows_all():
    assert tuple(DATASETS) == NAMES


@pytest.mark.parametrize('pack', ['folder', 'two zips', 'tar'])
def test_ecssd(tmp_path, pack, capsys):
    names = [f'{index:04d}' for index in range(1, 21)]
    source = tmp_path / 'download' / 'ecssd'
    write_pairs(source, 'ground_truth_mask', names)
    sources = [source.parent]
    if pack == 'two zips':
        sources = [zip_of(source / name, tmp_path / f'{name}.zip') for name in ('images', 'ground_truth_mask')]
    elif pack == 'tar':
        sources = [tmp_path / 'ecssd.tar.gz']
        with tarfile.open(sources[0], 'w:gz') as archive:
            archive.add(source, 'deep/er/ecssd')
    main(['ecssd', '--from', *map(str, sources), '--to', str(tmp_path / 'saliency')])
    assert capsys.readouterr().out == f'Wrote {tmp_path / "saliency" / "ECSSD"}: 42 files\n'
    root = tmp_path / 'saliency' / 'ECSSD'
    assert read_list(root / 'test.txt') == ['0003', '0006', '0009', '0013', '0016', '0019']
    assert sorted(read_list(root / 'train.txt') + read_list(root / 'test.txt')) == names
    assert {path.name for path in (tmp_path / 'saliency').iterdir()} == {'ECSSD'}  # nothing unpacked is left
    pytest.importorskip('mmseg')
    from res2net_mm.datasets.saliency import SaliencyDataset
    dataset = SaliencyDataset(['ECSSD:test.txt'], str(tmp_path / 'saliency'))
    assert len(dataset) == 6 and dataset.get_data_info(0)['set_name'] == 'ecssd'


@pytest.mark.parametrize('lists', [False, True])
def test_kvasir(tmp_path, lists):
    names = [f'c{index:02d}' for index in range(25)]
    write_pairs(tmp_path / 'Kvasir-SEG', 'masks', names)
    if lists:
        (tmp_path / 'Kvasir-SEG' / 'train.txt').write_text('c00.jpg\nc01\n')
        (tmp_path / 'Kvasir-SEG' / 'val.txt').write_text('c02\n')
    root = prepare_data('kvasir', [tmp_path / 'Kvasir-SEG'], tmp_path / 'polyps')
    assert root == tmp_path / 'polyps' / 'Kvasir-SEG'
    if lists:
        assert (read_list(root / 'train.txt'), read_list(root / 'val.txt')) == (['c00', 'c01'], ['c02'])
        (tmp_path / 'Kvasir-SEG' / 'val.txt').write_text('other\n')
        with pytest.raises(UserError, match='name 1 images that are not there: other'):
            prepare_data('kvasir', [tmp_path / 'Kvasir-SEG'], tmp_path / 'again')
        assert list((tmp_path / 'again').iterdir()) == []
    else:
        assert read_list(root / 'val.txt') == ['c04', 'c09', 'c14'] and len(read_list(root / 'train.txt')) == 22


def test_bccd(bccd, tmp_path):
    root = prepare_data('bccd', [bccd], tmp_path / 'cells')
    content = json.loads((root / 'annotations' / 'instances_val2017.json').read_text())
    assert [row['name'] for row in content['categories']] == ['red blood cell', 'white blood cell', 'platelet']
    assert [(row['image_id'], row['category_id'], row['bbox']) for row in content['annotations']] == [
        (1, 2, [0, 10, 64, 38]), (2, 3, [59, 39, 5, 9])]
    assert [image['file_name'] for image in content['images']] == ['b.jpg', 'c.jpg']
    assert (root / 'train2017' / 'a.jpg').is_file()


def test_cifar10_as_folders(tmp_path):
    for split in ('train', 'test'):
        for name in CIFAR10_CLASSES:
            write_image_of_class(tmp_path / 'cifar10', split, name, 0, np.zeros((32, 32, 3), np.uint8))
    root = prepare_data('cifar10', [tmp_path], tmp_path / 'images')
    assert len(list(root.glob('test/*/00000.png'))) == len(list(root.glob('train/*/00000.png'))) == 10
    shutil.rmtree(tmp_path / 'cifar10' / 'test' / 'cat')
    with pytest.raises(UserError, match='classes of CIFAR-10 are airplane'):
        prepare_data('cifar10', [tmp_path / 'cifar10'], tmp_path / 'again')


def test_cifar10_as_it_is_published(tmp_path, monkeypatch):
    """torchvision reads the archive's files, whose MD5 it knows; here others stand in for them."""
    datasets = pytest.importorskip('torchvision.datasets')
    folder = tmp_path / 'a' / 'cifar-10-batches-py'
    folder.mkdir(parents=True)
    with pytest.raises(UserError, match='cifar-10-batches-py.* is not whole'):
        prepare_data('cifar10', [tmp_path / 'a'], tmp_path / 'images')
    import pickle
    for name in [f'data_batch_{i}' for i in range(1, 6)] + ['test_batch']:
        pixels = np.zeros((2, 3, 32, 32), np.uint8)
        pixels[:, 0] = 255
        (folder / name).write_bytes(pickle.dumps(dict(data=pixels.reshape(2, -1), labels=[3, 9])))
    (folder / 'batches.meta').write_bytes(pickle.dumps(dict(label_names=list(CIFAR10_CLASSES))))
    monkeypatch.setattr(datasets.CIFAR10, '_check_integrity', lambda self: True)
    monkeypatch.setattr(datasets.cifar, 'check_integrity', lambda *_: True)
    root = prepare_data('cifar10', [tmp_path / 'a'], tmp_path / 'images')
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob('*.png'))
    assert files[:2] == ['test/cat/00000.png', 'test/truck/00001.png'] and len(files) == 12
    assert cv2.imread(str(root / files[0]))[0, 0].tolist() == [0, 0, 255]  # red, in B, G, R


@pytest.mark.parametrize(('name', 'make', 'message'), [
    ('ecssd', lambda folder: folder / 'none.zip', 'none.zip. does not exist'),
    ('ecssd', lambda folder: folder, 'no folder images and no folder ground_truth_mask in --from; it must hold ECSSD'),
    ('kvasir', lambda folder: folder, 'no folder images and no folder masks in --from; it must hold Kvasir-SEG'),
    ('bccd', lambda folder: folder, 'no BCCD/ImageSets/Main in --from; take a copy of'),
    ('cifar10', lambda folder: folder, 'no cifar-10-batches-py in --from, and no folders train and test'),
])
def test_what_is_not_the_dataset(tmp_path, capsys, name, make, message):
    (tmp_path / 'source').mkdir()
    argv = [name, '--from', str(make(tmp_path / 'source')), '--to', str(tmp_path / 'to')]
    expect_failure(capsys, main, argv, message)
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]


def test_damaged_archives_and_sets(tmp_path):
    (tmp_path / 'a.zip').write_bytes(b'PK\x03\x04 cut off')
    with pytest.raises(UserError, match='a.zip. is damaged, or no archive'):
        prepare_data('bccd', [tmp_path / 'a.zip'], tmp_path / 'to')
    write_pairs(tmp_path / 'set', 'masks', ['a', 'b'])
    (tmp_path / 'set' / 'masks' / 'b.png').unlink()
    with pytest.raises(UserError, match='2 images and 1 masks; 1 have no partner: b'):
        prepare_data('kvasir', [tmp_path / 'set'], tmp_path / 'to')
    (tmp_path / 'to' / 'Kvasir-SEG').mkdir(parents=True)
    (tmp_path / 'to' / 'Kvasir-SEG' / 'mine').touch()
    with pytest.raises(UserError, match='is there already'):
        prepare_data('kvasir', [tmp_path / 'set'], tmp_path / 'to')
    assert [path.name for path in (tmp_path / 'to').rglob('*')] == ['Kvasir-SEG', 'mine']


def test_an_archive_does_not_write_elsewhere(tmp_path):
    with tarfile.open(tmp_path / 'evil.tar', 'w') as archive:
        (tmp_path / 'payload').write_text('x')
        archive.add(tmp_path / 'payload', '../../escaped')
    with pytest.raises(UserError, match='evil.tar. is damaged, or no archive'):
        prepare_data('bccd', [tmp_path / 'evil.tar'], tmp_path / 'deep' / 'to')
    assert not list(tmp_path.rglob('escaped'))
