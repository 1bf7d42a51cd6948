#!/usr/bin/env python
"""Compare our Res2Nets with PaddleClas's own code, for the same random weights.

    tools/dev/paddle_parity.py --python PADDLE/bin/python
"""
from res2net_mm.cli.paddle_parity import main

if __name__ == '__main__':
    main()
