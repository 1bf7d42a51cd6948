"""Small backbones at random: any order of layers, with shared ones, layers in place, and sums that broadcast."""
import random

import torch
from helpers import randomise
from torch import nn

from res2net_mm.models.backbones.base import Backbone

CHANNELS = 8
STEPS = ('conv', 'conv', 'conv', 'strided conv', 'norm', 'norm', 'relu', 'relu', 'add', 'add', 'add', 'add in place',
         'broadcast', 'scalar', 'global pool', 'pool', 'cat', 'split', 'again', 'identity')


class RandomBackbone(Backbone):
    """A backbone whose steps are drawn: each makes a new feature map of earlier ones.

    All maps have 8 channels, at the size of the image, at half of it, or of one pixel.
    """

    stage_channels = (CHANNELS, )
    stage_strides = (1, )
    stem_modules = []

    def __init__(self, seed):
        super().__init__((0, ), -1, False, False, None)
        self.random = random.Random(seed)
        self.layers = nn.ModuleList([nn.Conv2d(3, CHANNELS, 3, padding=1)])
        self.steps = [('call', 0, 0)]  # of map 0, the image, layer 0 makes map 1
        self.sides = [1, 1]  # of every map: the image's, halves of it, 0 for one pixel
        self.kinds = ['conv']
        for _ in range(self.random.randint(4, 14)):
            self.draw()
        self.outputs = self.random.sample(range(1, len(self.sides)), min(2, len(self.sides) - 1))
        self.layer1 = nn.Identity()
        randomise(self).eval()

    def draw(self):
        kind, last = self.random.choice(STEPS), len(self.sides) - 1
        # Chains are what is fused: most steps take the last map.
        x = last if self.random.random() < 0.75 else self.random.randint(1, last)
        alike = [i for i in range(1, last + 1) if self.sides[i] == self.sides[x]]
        if kind in ('add', 'add in place', 'cat'):
            self.note((kind, x, self.random.choice(alike)), self.sides[x])
        elif kind == 'broadcast':
            pixels = [i for i in range(1, last + 1) if self.sides[i] == 0]
            if pixels:
                y = self.random.choice(pixels)
                self.note(('add', *self.random.sample([x, y], 2)), self.sides[x])
        elif kind in ('scalar', 'split'):
            self.note((kind, x, self.random.randint(0, 3)), self.sides[x])
        elif kind == 'again':
            fitting = [i for i, drawn in enumerate(self.kinds) if i and drawn not in ('strided conv', 'global pool')]
            if fitting:
                self.note(('call', x, self.random.choice(fitting)), self.sides[x])
        elif kind in ('strided conv', 'pool', 'global pool'):
            if self.sides[x] != 1:
                return
            self.add(kind, x, 2 if kind == 'strided conv' else 0 if kind == 'global pool' else 1)
        else:
            self.add(kind, x, self.sides[x])

    def add(self, kind, x, side):
        grouped = self.random.choice([1, 1, 2])
        size = self.random.choice([1, 3])
        self.layers.append({
            'conv': lambda: nn.Conv2d(CHANNELS, CHANNELS, size, padding=size // 2, groups=grouped,
                                      bias=self.random.random() < 0.5),
            'strided conv': lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1),
            'norm': lambda: nn.BatchNorm2d(CHANNELS, track_running_stats=self.random.random() < 0.9),
            'relu': lambda: nn.ReLU(inplace=self.random.random() < 0.7),
            'pool': lambda: self.random.choice([nn.AvgPool2d, nn.MaxPool2d])(3, 1, 1),
            'global pool': lambda: nn.AdaptiveAvgPool2d(1),
            'identity': nn.Identity,
        }[kind]())
        self.kinds.append(kind)
        self.note(('call', x, len(self.layers) - 1), side)

    def note(self, step, side):
        self.steps.append(step)
        self.sides.append(side)

    def forward(self, x):
        maps = [x]
        for kind, i, j in self.steps:
            value = maps[i]
            if kind == 'call':
                value = self.layers[j](value)
            elif kind == 'add':
                value = value + maps[j]
            elif kind == 'add in place':
                value += maps[j]
            elif kind == 'scalar':
                value = value + j
            elif kind == 'cat':
                value = torch.cat([value[:, :CHANNELS // 2], maps[j][:, CHANNELS // 2:]], dim=1)
            elif kind == 'split':
                parts = value.split(CHANNELS // 4, dim=1)
                value = torch.cat([parts[k % 4] for k in range(j, j + 4)], dim=1)
            maps.append(value)
        return tuple(maps[i] for i in self.outputs)
