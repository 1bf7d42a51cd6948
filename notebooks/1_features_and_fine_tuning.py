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
# # Features, and fine-tuning on your own dataset
#
# A backbone that has seen four kinds of shapes learns three others from a few dozen images of each. No config and no
# toolbox is needed: it is a PyTorch module. The images are made here; with a folder of yours in the place of `images`
# the rest stays as it is.

# %%
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import res2net_mm
from res2net_mm.apis import demo_models

torch.manual_seed(0)
rng = np.random.default_rng(0)

# %% [markdown]
# ## The dataset: a folder for each class


# %%
def draw(kind):
    """An image of 64 x 64 pixels with a ring, a star or an arrow, somewhere, of some size, turned anyhow."""
    image = cv2.resize(rng.uniform(20, 160, (5, 5, 3)).astype(np.float32), (64, 64), interpolation=cv2.INTER_CUBIC)
    radius, turn = rng.uniform(9, 22), rng.uniform(0, 2 * np.pi)
    centre = rng.uniform(radius, 64 - radius, 2)
    colour = (image.mean((0, 1)) + rng.uniform(50, 100)).tolist()

    def points(angles, lengths):
        angles = np.asarray(angles) + turn
        directions = np.stack([np.cos(angles), np.sin(angles)], 1)
        return (centre + radius * np.asarray(lengths)[:, None] * directions).astype(int)

    if kind == 'ring':
        cv2.circle(image, centre.astype(int).tolist(), int(radius), colour, max(2, int(radius / 4)))
    elif kind == 'star':
        cv2.fillPoly(image, [points(np.linspace(0, 2 * np.pi, 10, endpoint=False), [1, .4] * 5)], colour)
    else:
        tip, end, left, right = points([0, np.pi, .6, -.6], [1, 1, .6, .6])
        cv2.line(image, tip.tolist(), end.tolist(), colour, max(2, int(radius / 5)))
        cv2.fillPoly(image, [np.array([tip, left, right])], colour)
    return np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


images = Path('images')
classes = ('arrow', 'ring', 'star')
for split, count in (('train', 60), ('val', 100)):
    for kind in classes:
        (images / split / kind).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            cv2.imwrite(str(images / split / kind / f'{i:03d}.png'), draw(kind))

# %% [markdown]
# The images become tensors as the weights know them: the config beside the weights says how they were normalised.

# %%
weights = demo_models()['demo_classifier_r2n26']
normalise = res2net_mm.load_config('res2net_mm::demo_classifier_r2n26.py').data_preprocessor


def load(split):
    """Images (n, 3, 64, 64) and labels (n, ) of a split."""
    files = [(path, label) for label, kind in enumerate(classes) for path in sorted((images / split / kind).glob('*'))]
    pixels = np.stack([cv2.imread(str(path)) for path, _ in files]).astype(np.float32)
    if normalise.get('to_rgb'):
        pixels = pixels[..., ::-1]
    pixels = (pixels - np.float32(normalise.mean)) / np.float32(normalise.std)
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()), torch.tensor([label for _, label in files])


train, train_labels = load('train')
val, val_labels = load('val')
print(f'{len(train)} images to train on, {len(val)} to test on, shape {tuple(train.shape[1:])}')

# %% [markdown]
# ## Features
#
# `res2net_mm.create` gives a backbone by the name of its architecture. This one is small: 26 layers, and 16 channels
# in the stem. With `pretrained=True` a large one, such as `res2net50_v1b_26w4s`, fetches its public weights.


# %%
def create(pretrained):
    return res2net_mm.create('res2net50_26w4s', depth=26, base_channels=16, pretrained=pretrained)


encoder = create(str(weights)).eval()
with torch.no_grad():
    maps = encoder(val[:1])
print('stages:', [tuple(features.shape[1:]) for features in maps], 'strides:', encoder.out_strides)

figure, axes = plt.subplots(1, 6, figsize=(9, 1.8))
axes[0].imshow(cv2.imread(str(next((images / 'val' / 'arrow').glob('*'))))[..., ::-1])
for axis, channel in zip(axes[1:], maps[0][0]):
    axis.imshow(channel, cmap='magma')
for axis in axes:
    axis.axis('off')
figure.suptitle('an image, and five channels of the first stage')
plt.show()

# %% [markdown]
# How much do these features know of classes that the backbone has never seen? Ask for the nearest of the three mean
# features.


# %%
def pooled(model, x):
    """The last stage's features, averaged over the image: (n, channels)."""
    return torch.cat([model(part)[-1].mean((2, 3)) for part in x.split(50)])


with torch.no_grad():
    features = nn.functional.normalize(pooled(encoder, train))
    means = torch.stack([features[train_labels == label].mean(0) for label in range(len(classes))])
    nearest = torch.cdist(nn.functional.normalize(pooled(encoder, val)), means).argmin(1)
accuracy_before = (nearest == val_labels).float().mean().item()
print(f'nearest mean of the features: {accuracy_before:.1%} of the held-out images (guessing: {1 / len(classes):.1%})')

# %% [markdown]
# ## Fine-tuning
#
# A linear head on the backbone, and both are trained for 12 epochs. The same from random weights shows what the
# weights are good for.


# %%
def fine_tune(encoder, epochs=12):
    """The accuracy on the held-out images after training."""
    torch.manual_seed(0)
    head = nn.Linear(encoder.out_channels[-1], len(classes))
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, epochs * -(-len(train) // 30))
    for _ in range(epochs):
        encoder.train()
        for batch in torch.randperm(len(train)).split(30):
            x = train[batch].flip(3) if torch.rand(()) < .5 else train[batch]
            loss = nn.functional.cross_entropy(head(encoder(x)[-1].mean((2, 3))), train_labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    encoder.eval()
    with torch.no_grad():
        return (head(pooled(encoder, val)).argmax(1) == val_labels).float().mean().item()


accuracy_after = fine_tune(create(str(weights)))
accuracy_from_random_weights = fine_tune(create(False))
print(f'fine-tuned: {accuracy_after:.1%}; the same training from random weights: {accuracy_from_random_weights:.1%}')

# %%
assert accuracy_after > accuracy_before > 1 / len(classes)

# %% [markdown]
# For a large dataset, several GPUs, or detection and segmentation, write a config instead: `docs/train_and_test.md`.
