#!/usr/bin/env python
"""Time models side by side.

    tools/analysis_tools/benchmark.py [PRESET ...] [--paths eager compile ...]
"""
from res2net_mm.cli.benchmark import main

if __name__ == '__main__':
    main()
