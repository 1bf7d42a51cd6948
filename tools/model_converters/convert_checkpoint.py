#!/usr/bin/env python
"""Convert a checkpoint, or say what it is.

    tools/model_converters/convert_checkpoint.py SRC DST --to LAYOUT, or --inspect FILE
"""
from res2net_mm.cli.convert_checkpoint import main

if __name__ == '__main__':
    main()
