#!/usr/bin/env python
"""Check sets of photos and masks of salient objects: tools/saliency_data.py DATA_ROOT; see --help."""
from res2net_mm.datasets.saliency_folders import main

if __name__ == '__main__':
    main()
