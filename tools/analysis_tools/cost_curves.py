#!/usr/bin/env python
"""How running time grows with scales, batch and image.

    tools/analysis_tools/cost_curves.py [PRESET ...] [--curves scales ...]
"""
from res2net_mm.cli.cost_curves import main

if __name__ == '__main__':
    main()
