#!/usr/bin/env python
"""Train, evaluate and draw a small Res2Net Faster R-CNN, which is what `make demo` runs.

    tools/dev/demo.py [--data DIR]
"""
from res2net_mm.cli.demo import main

if __name__ == '__main__':
    main()
