#!/usr/bin/env python
"""Draw images, their masks and the saliency maps of several models.

    tools/visualization/saliency_sheet.py CONFIG CHECKPOINT --compare CONFIG CHECKPOINT
"""
from res2net_mm.cli.saliency_sheet import main

if __name__ == '__main__':
    main()
