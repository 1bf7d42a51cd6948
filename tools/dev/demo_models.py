#!/usr/bin/env python
"""Make the small models and the images in demo/: data, training, test, weights in float16, measured numbers.

    tools/dev/demo_models.py [NAME ...] --bccd DIR
"""
from res2net_mm.cli.demo_models import main

if __name__ == '__main__':
    main()
