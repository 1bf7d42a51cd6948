#!/usr/bin/env python
"""Export models in float32 and in 8 bits, and compare their scores, sizes and times.

    tools/dev/int8_table.py --data work_dirs/demo_models --work-dir work_dirs/int8
"""
from res2net_mm.cli.int8_table import main

if __name__ == '__main__':
    main()
