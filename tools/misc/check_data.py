#!/usr/bin/env python
"""Check the data of a config without training, print what is in them, and draw some with their annotations.

    tools/misc/check_data.py CONFIG --data-root DIR
"""
from res2net_mm.cli.check_data import main

if __name__ == '__main__':
    main()
