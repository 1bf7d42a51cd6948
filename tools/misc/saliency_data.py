#!/usr/bin/env python
"""Check sets of photos and masks of salient objects.

    tools/misc/saliency_data.py DATA_ROOT
"""
from res2net_mm.datasets.saliency_folders import main

if __name__ == '__main__':
    main()
