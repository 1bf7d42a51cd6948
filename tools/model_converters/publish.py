#!/usr/bin/env python
"""Make a checkpoint ready for others: weights named by their hash, and a model card; push them to a hub.

    tools/model_converters/publish.py CHECKPOINT OUT_DIR [--config CONFIG] [--push OWNER/NAME]
"""
from res2net_mm.cli.publish import main

if __name__ == '__main__':
    main()
