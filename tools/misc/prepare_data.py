#!/usr/bin/env python
"""Lay out a public dataset as our configs read it.

    tools/misc/prepare_data.py cifar10 --from cifar-10-python.tar.gz --to data/cifar10_images
    tools/misc/prepare_data.py ecssd --from images.zip ground_truth_mask.zip --to data/saliency
    tools/misc/prepare_data.py kvasir --from kvasir-seg.zip --to data/polyps
    tools/misc/prepare_data.py bccd --from BCCD_Dataset --to data/bccd
"""
from res2net_mm.cli.prepare_data import main

if __name__ == '__main__':
    main()
