"""Saliency maps of several models side by side, with the photo and the truth (paper section 4.9, Fig. 7)."""
import argparse
from pathlib import Path

import numpy as np
from mmengine.dataset import Compose
from mmengine.registry import MODELS, init_default_scope

from ..cli.arguments import device_argument, models_arguments
from ..cli.command import run_tool
from ..datasets.checks.configs import leaves
from ..datasets.saliency_folders import find_pairs
from ..utils.images import read_image
from ..utils.masks import read_mask, size_defect
from ..utils.text import number_duplicates, shorten
from .cam.explain import load_weights


class SaliencyModel:
    """A trained segmentor with one output channel, asked for one photo at a time.

    Args:
        config (str): A config of mmseg whose model has a ``DSSHead``, or another head with ``out_channels=1``.
        checkpoint (str): A checkpoint of the whole model.
        device (str): Where to run. Defaults to 'cpu'.

    Raises:
        OSError, ValueError: If a file cannot be read, the two do not fit, or the model has more than one channel.
    """

    def __init__(self, config, checkpoint, device='cpu'):
        from ..utils.config import load_config
        self.name = Path(config.rpartition('::')[2]).stem
        cfg = load_config(config)
        init_default_scope(cfg.get('default_scope'))
        self.model = MODELS.build(cfg.model)
        if getattr(self.model, 'out_channels', None) != 1:
            raise ValueError(f"config '{config}' is not one of a saliency model: its out_channels must be 1")
        load_weights(self.model, config, checkpoint, cfg.get('default_scope'))
        self.model.to(device).eval().requires_grad_(False)
        self.pipeline = Compose([
            step for step in leaves(cfg.test_dataloader.dataset)[0].pipeline if 'Annotations' not in step['type']])

    def map(self, photo):
        """The saliency map of a photo file: (h, w), 0 to 1, of the photo's size."""
        packed = self.pipeline(dict(img_path=str(photo)))
        result, = self.model.test_step(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]))
        return result.seg_logits.data[0].cpu().numpy()


def draw_sheet(rows, names, path):
    """Draw photos, their truth and maps.

    Args:
        rows (list[tuple]): For every photo the photo, (h, w, 3) uint8 BGR; the truth, (h, w) of 0 and 1; and the maps
            of all models, each (h, w) from 0 to 1.
        names (list[str]): Of the models.
        path (Path): The file to write.
    """
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    width = 2.4
    heights = [width * photo.shape[0] / photo.shape[1] + 0.25 for photo, *_ in rows]
    figure, axes = plt.subplots(len(rows), len(names) + 2, squeeze=False, layout='constrained',
                                figsize=(width * (len(names) + 2), sum(heights) + 0.3), height_ratios=heights)
    for line, (photo, truth, maps) in zip(axes, rows):
        line[0].imshow(photo[..., ::-1])
        for axis, grey in zip(line[1:], [truth, *maps]):
            axis.imshow(grey, cmap='gray', vmin=0, vmax=1)
        for axis, saliency in zip(line[2:], maps):
            axis.set_title(f'MAE {np.abs(saliency - truth).mean():.3f}', fontsize=8)
        for axis in line:
            axis.set(xticks=[], yticks=[])
    for axis, name in zip(axes[0], ['photo', 'truth', *names]):
        axis.set_title('\n'.join(filter(None, [name, axis.get_title()])), fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None):
    """Draw a sheet: the command ``tools/visualization/saliency_sheet.py``."""
    parser = argparse.ArgumentParser(description='Draw photos, their truth, and the saliency maps of models.')
    models_arguments(parser, 'checkpoint of the whole model')
    parser.add_argument('--data-root', required=True, metavar='DIR', help='the folder of the saliency sets')
    parser.add_argument('--set', default='ECSSD', metavar='SET[:LIST]',
                        help='the set; LIST is a file in its folder with the names of some photos (ECSSD)')
    parser.add_argument('--photos', nargs='+', metavar='NAME', help='photos of the set, without suffix')
    parser.add_argument('--count', type=int, default=6, metavar='N',
                        help='without --photos: so many, evenly spread over the set (6)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/saliency_sheet.png'), metavar='FILE',
                        help='the picture (work_dirs/saliency_sheet.png)')
    device_argument(parser)
    run_tool(run, parser.parse_args(argv))


def run(args, device):
    chosen = choose_photos(find_pairs(args.data_root, args.set), args)
    models = [SaliencyModel(*pair, device) for pair in [(args.config, args.checkpoint), *args.compare]]
    rows = []
    for path, mask in chosen:
        photo, truth = read_image(path), read_mask(mask)
        defect = size_defect(truth, photo.shape[:2])
        if defect:
            raise ValueError(f'{mask} {defect}')
        rows.append((photo, truth, [model.map(path) for model in models]))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw_sheet(rows, number_duplicates([model.name for model in models]), args.out)
    print(f'Wrote {args.out}')


def choose_photos(pairs, args):
    if args.count < 1:
        raise ValueError(f'--count {args.count}: must be at least 1')
    if not args.photos:
        return [pairs[i] for i in sorted({i * len(pairs) // args.count for i in range(args.count)})]
    known = {photo.stem: (photo, mask) for photo, mask in pairs}
    unknown = [name for name in args.photos if name not in known]
    if unknown:
        raise ValueError(f'--photos {" ".join(unknown)}: {args.set} has no such photo; it has {len(known)}: '
                         f'{shorten(known)}')
    return [known[name] for name in args.photos]
