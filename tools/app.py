#!/usr/bin/env python
"""Open a page on which one can try models on images.

    tools/app.py [--model MODEL [--checkpoint FILE]] ...
"""
from res2net_mm.cli.app import main

if __name__ == '__main__':
    main()
