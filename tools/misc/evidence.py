#!/usr/bin/env python
"""Res2Net beside ResNet on small data, with several seeds.

    tools/misc/evidence.py [--seeds N] [...]
"""
from res2net_mm.cli.evidence import main

if __name__ == '__main__':
    main()
