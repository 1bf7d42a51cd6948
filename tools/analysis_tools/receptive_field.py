#!/usr/bin/env python
"""Measure what each split of a block sees.

    tools/analysis_tools/receptive_field.py [ARCH ...] [--config CONFIG]
"""
from res2net_mm.cli.receptive_field import main

if __name__ == '__main__':
    main()
