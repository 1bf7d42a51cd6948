# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What the network looks at
#
# Two questions, side by side. Grad-CAM: which pixels does the score of a detection come from? Receptive fields: which
# pixels *can* a unit of the backbone see, and how much of that does it use?

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from res2net_mm.analysis.cam.coverage import map_coverage, read_boxes
from res2net_mm.analysis.cam.explain import ExplainedModel
from res2net_mm.analysis.receptive_field_figure import measure_config
from res2net_mm.apis import find_model
from res2net_mm.datasets.shapes import write_shapes

root = Path('shapes')
write_shapes(root, train=1, val=12, seed=7)
files = sorted((root / 'val2017').glob('*.png'))
boxes = read_boxes(root / 'annotations' / 'instances_val2017.json', files)

# %% [markdown]
# ## Grad-CAM of detections
#
# The detector comes with the package. For an object it makes the map of that detection's score, 0 to 1.

# %%
demo = find_model('demo')
model = ExplainedModel(demo.config, demo.checkpoint)
explained = []
for file in files:
    prepared = model.prepare_image(file)
    for box in boxes[file]:
        region = model.box_region(file, box.box)
        heat, answer = model.explain(prepared, model.class_index(box.category), region)
        if heat is not None:
            explained.append((prepared.image, heat, region, f'{box.category} {answer.score:.2f}'))
print(f'{len(explained)} of {sum(map(len, boxes.values()))} objects are detected, and have a map')

figure, axes = plt.subplots(2, 4, figsize=(10, 5), layout='constrained')
for (top, below), (image, heat, region, caption) in zip(axes.T, explained):
    top.imshow(image[..., ::-1])
    below.imshow(image[..., ::-1].mean(2), cmap='gray')
    below.imshow(heat, cmap='inferno', alpha=0.6)
    below.contour(region, levels=[0.5], colors='white', linewidths=1)
    top.set_title(caption, fontsize=9)
for axis in axes.flat:
    axis.axis('off')
plt.show()

# %% [markdown]
# A map that knew nothing would put into the box what the box has of the image.

# %%
coverages = [map_coverage(heat, region) for _, heat, region, _ in explained]
energy = np.mean([coverage.energy for coverage in coverages])
share = np.mean([coverage.box_share for coverage in coverages])
print(f'{energy:.0%} of a map lie in the box of its object, which has {share:.0%} of the image')

# %% [markdown]
# ## Receptive fields of the splits
#
# A Res2Net block splits its channels into four groups. Three go through a 3x3 convolution each, the second and third
# after the output of the one before was added: y1, y2 and y3 see further and further. The fourth, y4, is passed on as
# it is. So one block has several scales. The last block of each stage, with the detector's weights, on noise:

# %%
torch.manual_seed(0)
fields = measure_config(demo.config, demo.checkpoint, torch.randn(2, 3, 256, 256))
radii = {}
for block, splits in fields.by_block().items():
    radii[block] = [split.radius(0.9) for split in splits]
    theory = [split.theoretical or 'unbounded' for split in splits]
    print(f'{block:10} 90 % of the energy within {radii[block]} pixels; at most {theory}')

# %%
figure, axes = plt.subplots(1, 4, figsize=(10, 2.8), layout='constrained')
splits = fields.by_block()[list(radii)[1]]
for axis, split in zip(axes, splits):
    around = slice(split.centre - 48, split.centre + 49)
    axis.imshow(split.energy[around, around]**0.3, cmap='inferno', extent=(-48, 48, 48, -48))
    axis.set_title(f'y{split.split}: radius {split.radius(0.9)} pixels', fontsize=9)
figure.suptitle(f'what {splits[0].block} sees, split by split')
plt.show()

# %% [markdown]
# What a split can see grows from y1 to y3, and y4 can see the least. What it uses is less, as the weights decide. The
# fourth uses hardly more than the first layers of the network see: the shortcuts around the blocks carry that so far.

# %%
assert energy > 2 * share
for block, splits in fields.by_block().items():
    first, second, third, passed_on = (split.theoretical for split in splits)
    assert passed_on < first < second < third
    assert radii[block][3] < max(radii[block][:3])
