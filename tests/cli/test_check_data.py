import json
import shutil

import pytest
from helpers import CLASSES, CONFIGS, cut, detection_config, expect_failure, segmentation_config, write_pictures
from mmengine.config import Config
from PIL import Image

from res2net_mm.analysis.dataset_summary import ClassCount, DatasetSummary
from res2net_mm.cli import dataset_tables
from res2net_mm.cli.check_data import Problems, distinct_splits, main
from res2net_mm.datasets.checks.problems import BadDataError, Problem
from res2net_mm.utils.text import console

LOADER = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
CLASSIFIER_DATA = dict(type='CustomDataset', data_prefix='pictures', pipeline=[dict(type='LoadImageFromFile')])


def write_config(folder, *parts, **settings):
    """A config file of the data of some splits, without a model."""
    cfg = Config()
    for part in parts:
        cfg.merge_from_dict(dict(part))
    for split in ('train', 'val', 'test'):
        if f'{split}_dataloader' in cfg:
            cfg[f'{split}_dataloader'] = dict(LOADER, dataset=cfg[f'{split}_dataloader'].dataset)
    cfg.merge_from_dict(settings)
    cfg.dump(folder / 'config.py')
    return str(folder / 'config.py')


def coco_config(root, folder, **settings):
    pytest.importorskip('mmdet')
    return write_config(folder, detection_config(root), detection_config(root, 'val'), **settings)


def run(capsys, config, *arguments):
    main([config, *arguments])
    return capsys.readouterr().out


def test_tables_and_pictures_of_good_data(small_shapes, tmp_path, capsys):
    said = run(capsys, coco_config(small_shapes, tmp_path), '--out', str(tmp_path / 'sheets' / 'data.png'))
    unbroken = ''.join(said.replace('│', '').split())  # a long path takes several lines
    assert 'train:CocoDataset' in unbroken and f'{small_shapes}/annotations/instances_val2017.json' in unbroken
    assert '192×192' in said and all(name in said for name in CLASSES)
    assert said.endswith('Errors: 0, warnings: 0\n') and 'What is wrong' not in said
    for split in ('train', 'val'):
        path = tmp_path / 'sheets' / f'data_{split}.png'
        assert f'Wrote {path}' in said and Image.open(path).width == 1600


def test_pictures_go_to_the_work_dir(masks, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path, segmentation_config(masks, 'val'))
    assert 'Wrote work_dirs/config/check_data_val.jpg' in run(capsys, config)
    assert (tmp_path / 'work_dirs' / 'config' / 'check_data_val.jpg').is_file()


def test_everything_that_is_wrong_is_collected(broken_shapes, tmp_path, capsys):
    cut(broken_shapes / 'annotations' / 'instances_val2017.json')
    (broken_shapes / 'train2017' / '000001.png').unlink()
    test = detection_config(broken_shapes, 'val').val_dataloader.dataset
    test.ann_file = 'annotations/nothing.json'
    config = coco_config(broken_shapes, tmp_path, test_dataloader=dict(LOADER, dataset=test))
    with pytest.raises(SystemExit) as end:
        main([config, '--out', str(tmp_path / 'data.jpg')])
    assert 'the data must be mended' in end.value.code
    said = ' '.join(capsys.readouterr().out.replace('│', ' ').split())
    for text in ('instances_val2017.json is not valid JSON (cut off?)', 'test_dataloader: ', 'nothing.json',
                 '1 of 6 images to train on are bad; training would end:', '000001.png does not exist',
                 'Errors: 3, warnings: 0', 'data_train.jpg'):
        assert text in said, said
    assert said.count('not valid JSON') == 1 and 'cannot be built' not in said


def test_one_bad_dataset_does_not_hide_the_others(masks, tmp_path, capsys):
    cfg = segmentation_config(masks, 'train')
    good = cfg.train_dataloader.dataset
    unknown = dict(good, type='NoSuchDataset')
    config = write_config(tmp_path, cfg, train_dataloader=dict(
        LOADER, dataset=dict(_delete_=True, type='ConcatDataset', datasets=[unknown, good])))
    pytest.raises(SystemExit, main, [config, '--out', str(tmp_path / 'data.jpg')])
    said = ' '.join(capsys.readouterr().out.replace('│', ' ').split())
    assert 'NoSuchDataset cannot be built: KeyError' in said
    assert 'All 3 masks were decoded.' in said and 'BaseSegDataset' in said


def test_a_class_without_a_pixel_is_marked(masks, tmp_path, capsys):
    cfg = segmentation_config(masks, 'val')
    cfg.val_dataloader.dataset.metainfo.classes = ('nothing', 'thing', '[bold]none such')
    said = run(capsys, write_config(tmp_path, cfg), '--splits', 'val', '--out', str(tmp_path / 'data.jpg'))
    assert '[bold]none such (none)' in said and '(ignored, 255)' in said


def test_identical_splits_are_looked_at_once(tmp_path, capsys):
    pytest.importorskip('mmpretrain')
    write_pictures(tmp_path)
    loader = dict(LOADER, dataset=dict(CLASSIFIER_DATA, data_root=str(tmp_path)))
    config = write_config(tmp_path, dict(default_scope='mmpretrain', val_dataloader=loader, test_dataloader=loader,
                                         val_evaluator=dict(type='Accuracy'), test_evaluator=dict(type='Accuracy')))
    said = run(capsys, config, '--out', str(tmp_path / 'data.jpg'))
    assert 'val and test: CustomDataset' in said and 'val: ' not in said
    assert (tmp_path / 'data_val_and_test.jpg').is_file()


def overlap_of(said):
    """The warning of the table, without its frame."""
    return ''.join(said.replace('│', '').partition('What is wrong')[2].split())


def test_validation_images_that_are_trained_on_are_a_warning(small_shapes, tmp_path, capsys):
    annotations = small_shapes / 'annotations' / 'instances_train2017.json'
    pytest.importorskip('mmdet')
    train, val = detection_config(small_shapes), detection_config(small_shapes, 'val')
    same = dict(train.train_dataloader.dataset, test_mode=True, filter_cfg=None)
    config = write_config(tmp_path, train, val, val_dataloader=dict(LOADER, dataset=same))
    said = run(capsys, config, '--out', str(tmp_path / 'data.jpg'))
    images = len(json.loads(annotations.read_text())['images'])
    assert f'{images}of{images}imagesofvalaretrainedon,too(trainandvalread{annotations})' in overlap_of(said)
    assert 'Errors: 0, warnings: 1' in said


def test_a_link_to_a_training_image_is_that_image(tmp_path, capsys):
    pytest.importorskip('mmpretrain')
    write_pictures(tmp_path / 'a')
    copy = tmp_path / 'b' / 'pictures'
    shutil.copytree(tmp_path / 'a' / 'pictures', copy)  # equal content alone is no matter
    linked, *_ = sorted(path for path in copy.rglob('*') if path.is_file())
    original = tmp_path / 'a' / 'pictures' / linked.relative_to(copy)
    linked.unlink()
    linked.symlink_to(original)
    loaders = {f'{split}_dataloader': dict(LOADER, dataset=dict(CLASSIFIER_DATA, data_root=str(tmp_path / folder)))
               for split, folder in (('train', 'a'), ('val', 'b'))}
    config = write_config(tmp_path, dict(default_scope='mmpretrain', val_evaluator=dict(type='Accuracy'), **loaders))
    said = overlap_of(run(capsys, config, '--out', str(tmp_path / 'data.jpg')))
    assert '1of' in said and f'trainreads{tmp_path}/a/pictures,valreads{tmp_path}/b/pictures' in said
    assert f'{linked}is{original}' in said


def test_arguments(masks, tmp_path, capsys):
    config = write_config(tmp_path, segmentation_config(masks, 'val'))
    expect_failure(capsys, main, ['nothing.py'], "error: config 'nothing.py' does not exist")
    expect_failure(capsys, main, [config, '--splits', 'train'], 'config.py has no train_dataloader with a dataset$')
    empty = tmp_path / 'empty.py'
    empty.write_text('model = None\n')
    expect_failure(capsys, main, [str(empty)], 'has no train_dataloader, val_dataloader, test_dataloader with a')
    expect_failure(capsys, main, [config, '--data-root', str(tmp_path / 'none'), '--out', str(tmp_path / 'data.jpg')],
                   'the data must be mended')


@pytest.mark.parametrize('name', ['faster_rcnn_r2n50_coco', 'small/digits_r2n26', 'saliency/dss_r2n50_msrab'])
def test_splits_of_our_configs(name):
    from argparse import Namespace

    from res2net_mm.utils.config import load_config
    titles = distinct_splits(load_config(CONFIGS / f'{name}.py'), Namespace(splits=None, config=name))
    assert list(titles.values()) == (
        ['train', 'val', 'test'] if 'dss' in name else ['train', 'val and test'])


def test_a_check_that_fails_is_a_problem_and_each_problem_is_kept_once():
    problems = Problems()

    def refuse(message):
        raise BadDataError(message)

    def fail():
        yield Problem('kept', fatal=False)
        raise KeyError('area')

    assert problems.collect(refuse, 'no') and problems.collect(refuse, 'no') and problems.collect(fail)
    assert not problems.collect(lambda: [Problem('mild', fatal=False)])
    assert problems.found == [Problem('no'), Problem('kept', fatal=False), Problem("fail ended in KeyError: 'area'"),
                              Problem('mild', fatal=False)]


def shown(renderable, capsys):
    console().print(renderable)
    return capsys.readouterr().out


def classes_summary(number, counted):
    classes = {i: ClassCount(f'class {i:04d}', images=i, objects=i) for i in range(number)}
    return DatasetSummary('Own', '', counted, [], classes=classes)


def test_eighty_classes_fit_side_by_side(capsys):
    said = shown(dataset_tables.class_table('train', classes_summary(80, 'objects'), 160), capsys)
    lines = said.splitlines()
    assert len(lines) < 50 and max(map(len, lines)) <= 160 and said.count('class 00') == 80
    assert '…' not in said and 'class 0000 (none)' in said
    narrow = shown(dataset_tables.class_table('train', classes_summary(80, 'objects'), 80), capsys)
    assert len(narrow.splitlines()) > 80


def test_a_thousand_classes_are_summarised(capsys):
    said = shown(dataset_tables.class_table('train', classes_summary(1000, 'labels'), 160), capsys)
    assert said.count('class 0') == 20 and all(f'class {i:04d}' in said for i in (0, 9, 990, 999))
    assert 'The 10 largest and smallest of 1000 classes; 1 have nothing.' in said


def test_errors_come_first(capsys):
    said = shown(dataset_tables.problem_table([Problem('mild [x]', fatal=False), Problem('bad\n  line')]), capsys)
    assert said.index('error') < said.index('bad') < said.index('warning') < said.index('mild [x]')


def test_output_can_be_read_in_a_file(capsys):
    """Without colours, and no line is cut."""
    count = ClassCount('a name of a class that is very long, in truth longer than a line of the table', 1, 1)
    summary = DatasetSummary('Own', '/data/' + 30 * 'long/' + 'file.json', 'objects', [], classes={0: count})
    said = shown(dataset_tables.images_table([('train', summary, None)]), capsys)
    said += shown(dataset_tables.class_table('train', summary, 160), capsys)
    assert '\x1b' not in said and '…' not in said and '.json' in said and 'line of the table' in said
