#!/usr/bin/env python
"""Images per second of whole models.

    tools/analysis_tools/benchmark_models.py CONFIG... [--backends ...]
"""
from res2net_mm.cli.benchmark_models import main

if __name__ == '__main__':
    main()
