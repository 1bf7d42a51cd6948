"""``tools/dev/export_table.py`` writes the page from the rows that it keeps."""
import json

import cv2
import numpy as np

from res2net_mm.cli.export_table import main


def test_rows_of_two_machines(tmp_path, capsys):
    """Rows that were measured before are not measured again; the page says of each machine what it was."""
    cv2.imwrite(str(tmp_path / 'photo.png'), np.zeros((8, 8, 3), np.uint8))
    target = dict(works='yes', error='1e-06', size='98', ms=50.4, eager=70., best=45., backend='native')
    rows = {name: dict(name=name, task='classification', targets={'onnx': target}, measured=measured)
            for name, measured in (('imagenet_r2n50_26w4s', 'A CPU, 2 threads'), ('imagenet_r2n50_v1b', 'Another CPU'),
                                   ('imagenet_dla60_r2n', 'A CPU, 2 threads'))}
    (tmp_path / 'rows.json').write_text(json.dumps(rows))
    page = tmp_path / 'page.md'
    page.write_text('Before.\n\n<!-- begin of the table -->\nold\n<!-- end of the table -->\n\nAfter.\n')

    main(['imagenet_r2n50_26w4s', '--images', str(tmp_path), '--rows', str(tmp_path / 'rows.json'),
          '--page', str(page)])

    text = page.read_text()
    assert text.startswith('Before.\n\n<!-- begin of the table -->\n\n| model')
    assert text.endswith('A CPU, 2 threads.\n\nAnother CPU.\n\n<!-- end of the table -->\n\nAfter.\n')
    assert '| `imagenet_r2n50_v1b` | classification | onnx | yes | 1e-06 | 98 | 50 | 70 | 45 | native |' in text
    assert 'old' not in text
