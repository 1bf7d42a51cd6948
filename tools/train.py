#!/usr/bin/env python
"""Train the model of a config: tools/train.py CONFIG [--work-dir DIR] [--resume] [...]; --help lists all."""
from res2net_mm.cli.train import main

if __name__ == '__main__':
    main()
