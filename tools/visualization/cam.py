#!/usr/bin/env python
"""Show where a model looks.

    tools/visualization/cam.py CONFIG CHECKPOINT IMAGE ... [--compare CONFIG CHECKPOINT]
"""
from res2net_mm.analysis.cam.sheet import main

if __name__ == '__main__':
    main()
