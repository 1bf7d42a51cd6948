"""``python -m res2net_mm.weights``: list public weights, download them, and check files of them.

``cli/weights.py`` is the command; the table is ``models/public_weights.py``.
"""
from __future__ import annotations

if __name__ == '__main__':
    from res2net_mm.cli.weights import main
    main()
