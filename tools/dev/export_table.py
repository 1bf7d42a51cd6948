#!/usr/bin/env python
"""Export every kind of model with random weights, and write docs/export.md: tools/dev/export_table.py --images DIR"""
from res2net_mm.cli.export_table import main

if __name__ == '__main__':
    main()
