#!/usr/bin/env python
"""Reproduce a table of the paper: tools/reproduce.py TABLE [--rows ROW ...] [--data DIR] [...]; --help lists all."""
from res2net_mm.cli.reproduce import main

if __name__ == '__main__':
    main()
