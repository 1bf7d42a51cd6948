#!/usr/bin/env python
"""Show where a model looks: tools/cam.py CONFIG CHECKPOINT IMAGE ... [--compare CONFIG CHECKPOINT]; see --help."""
from res2net_mm.cli.cam import main

if __name__ == '__main__':
    main()
