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
# # From detection to a file that ships
#
# Detect objects, look at them, measure how many of them are right, and export the detector into one ONNX file, which
# runs without PyTorch and OpenMMLab. The model and all that it needs come with the package.

# %%
import json
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import torch

from res2net_mm.apis import Exported, Predictor, draw_prediction, export, predict
from res2net_mm.datasets.shapes import write_shapes

torch.set_num_threads(1)  # so that times are compared on the same footing

# %% [markdown]
# ## Images
#
# Generated ones, with their true boxes. The detector was trained on images of the same kind, but not on these: the
# seed differs.

# %%
root = Path('shapes')
write_shapes(root, train=1, val=12, seed=123)
truth = json.loads((root / 'annotations' / 'instances_val2017.json').read_text())
files = [root / 'val2017' / image['file_name'] for image in truth['images']]

# %% [markdown]
# ## Predict
#
# `predict` takes files, folders, videos or addresses, and gives a result for each image: the image and a
# `Prediction`, which is made of NumPy arrays.

# %%
detector = Predictor('demo', device='cpu')
results = list(predict(detector, files))
sure = results[0].prediction.select(score=0.5)
for label, score, box in zip(sure.labels, sure.scores, sure.boxes):
    print(f'{sure.classes[label]:10} {score:.2f}  left, top, right, bottom: {box.round().astype(int).tolist()}')

figure, axes = plt.subplots(1, 4, figsize=(10, 2.7))
for axis, result in zip(axes, results):
    axis.imshow(draw_prediction(result.image, result.prediction, score=0.5)[..., ::-1])
    axis.axis('off')
plt.show()

# %% [markdown]
# How many of the true objects are found, with the right class and an overlap (IoU) of at least one half?


# %%
def overlap(box, others):
    """IoU of a box, (4, ), with others, (n, 4): (n, )."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    inside = np.clip(high - low, 0, None).prod(1)
    return inside / ((box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - inside)


names = {category['id']: category['name'] for category in truth['categories']}
found = []
for annotation in truth['annotations']:
    prediction = results[annotation['image_id'] - 1].prediction.select(0.5, (names[annotation['category_id']], ))
    x, y, width, height = annotation['bbox']
    found.append((overlap(np.array([x, y, x + width, y + height]), prediction.boxes) >= 0.5).any())
recall = np.mean(found)
print(f'{sum(found)} of {len(found)} objects are found ({recall:.0%})')

# %% [markdown]
# ## Export
#
# One file, from the prepared image to boxes. `check` compares it with PyTorch on images.

# %%
images = [result.image for result in results]
check = export('demo', 'demo.onnx', check=images[:4])
print(f'{check.file}: {check.file.stat().st_size / 1e6:.1f} MB')
for row in check.rows():
    print(*row)

# %% [markdown]
# `Exported` runs the file with ONNX Runtime, and gives the same kind of `Prediction`. It imports neither PyTorch nor
# OpenMMLab.

# %%
exported = Exported('demo.onnx', threads=1)


def milliseconds(run):
    """The median time of an image."""
    times = []
    for image in images:
        start = perf_counter()
        run(image)
        times.append(1000 * (perf_counter() - start))
    return float(np.median(times))


exported(images[0])  # the first call prepares
in_pytorch, in_onnx = milliseconds(lambda image: detector([image])), milliseconds(exported)
print(f'PyTorch {in_pytorch:.0f} ms an image, the file {in_onnx:.0f} ms')

# %%
differences = []
for image, result in zip(images, results):
    ours, theirs = result.prediction.select(0.5), exported(image).select(0.5)
    assert ours.labels.tolist() == theirs.labels.tolist()
    differences.append(np.abs(ours.boxes - theirs.boxes).max(initial=0))
print(f'the same objects in all images; boxes differ by at most {max(differences):.3f} pixels')
assert check.holds and recall > 0.5 and max(differences) < 1
