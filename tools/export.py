#!/usr/bin/env python
"""Write a model into one file that runs without PyTorch and OpenMMLab.

    tools/export.py CONFIG --checkpoint FILE --to onnx --check IMAGES
"""
from res2net_mm.cli.export import main

if __name__ == '__main__':
    main()
