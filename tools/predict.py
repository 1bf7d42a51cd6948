#!/usr/bin/env python
"""Predict on images and videos: tools/predict.py MODEL INPUT [INPUT ...] [--out DIR] [...]; --help lists all."""
from res2net_mm.cli.predict import main

if __name__ == '__main__':
    main()
