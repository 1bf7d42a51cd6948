#!/usr/bin/env python
"""Res2Net beside ResNet on small data, with several seeds.

    tools/misc/evidence.py [TABLE ...] --data ecssd=DIR kvasir=DIR
    tools/misc/evidence.py --report-only
"""
from res2net_mm.cli.evidence import main

if __name__ == '__main__':
    main()
