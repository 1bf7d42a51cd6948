#!/usr/bin/env python
"""Check sets of images and masks of salient objects.

    tools/misc/saliency_data.py DATA_ROOT
"""
from res2net_mm.cli.saliency_data import main

if __name__ == '__main__':
    main()
