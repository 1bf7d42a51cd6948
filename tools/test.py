#!/usr/bin/env python
"""Evaluate a checkpoint: tools/test.py CONFIG CHECKPOINT [--show-dir DIR] [...]; --help lists all."""
from res2net_mm.cli.test import main

if __name__ == '__main__':
    main()
