#!/usr/bin/env python
"""Measure what tools/predict.py costs beside the model: tools/dev/predict_overhead.py MODEL FOLDER [...]"""
from res2net_mm.cli.predict_overhead import main

if __name__ == '__main__':
    main()
