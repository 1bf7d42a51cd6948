#!/usr/bin/env python
"""Show where a model looks.

    tools/visualization/cam.py CONFIG CHECKPOINT IMAGE ... [--compare CONFIG CHECKPOINT]
"""
from res2net_mm.cli.cam import main

if __name__ == '__main__':
    main()
