#!/usr/bin/env python
"""Evaluate a checkpoint: tools/test.py CONFIG CHECKPOINT [--show-dir DIR] [...]; --help lists all."""
from res2net_mm.cli.main import test

if __name__ == '__main__':
    test()
