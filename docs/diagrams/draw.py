#!/usr/bin/env python3
"""Draw the diagrams of docs/backbones.md, as SVG, beside this file.

    python docs/diagrams/draw.py

Text is text. Boxes are light with dark text, and lines and other text are of a grey that stands out from white and from
black alike: a page in an <img> cannot know whether its reader has chosen light or dark.
"""
from __future__ import annotations

from pathlib import Path
from typing import Callable
from xml.sax.saxutils import escape

FOLDER = Path(__file__).resolve().parent
STYLE = ('text{font:14px sans-serif;fill:#7a7a7a;text-anchor:middle}.box text{fill:#1b1b1b}.small{font-size:12px}'
         'text.left{text-anchor:start}path,circle{fill:none;stroke:#7a7a7a;stroke-width:1.6}marker path{fill:#7a7a7a;'
         'stroke:none}rect{stroke:#7a7a7a}')
CONV, POOL, OTHER = '#bcd6f2', '#f4d8a8', '#e3e3e3'  # fills of boxes: convolutions, pooling, what has no weights
PLUS = 9  # radius of an addition
COLUMNS = (80, 200, 320, 440)  # of the four splits
SHORTCUT = 570  # x of the shortcut


class Drawing:
    """Shapes, one after another, on a canvas of the given size in pixels."""

    def __init__(self, title: str, width: int, height: int) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img">', f'<title>{escape(title)}</title>', f'<style>{STYLE}</style>',
            '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
            'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0 8 4 0 8z"/></marker>']

    def box(self, x: int, y: int, width: int, text: str, fill: str = CONV, note: str = '', height: int = 0) -> int:
        """A box around x, from y downwards, with a text and a smaller line below it; return where it ends."""
        height = height or (44 if note else 30)
        lines = f'<text x="{x}" y="{y + 19}">{escape(text)}</text>'
        if note:
            lines += f'<text class="small" x="{x}" y="{y + 36}">{escape(note)}</text>'
        self.parts.append(f'<g class="box"><rect x="{x - width // 2}" y="{y}" width="{width}" height="{height}" rx="4" '
                          f'fill="{fill}"/>{lines}</g>')
        return y + height

    def line(self, *points: tuple[int, int], arrow: bool = True) -> None:
        """A line through points, with an arrow at its end."""
        steps = ' '.join(f'{x} {y}' for x, y in points)
        self.parts.append(f'<path d="M{steps}"' + (' marker-end="url(#tip)"' if arrow else '') + '/>')

    def plus(self, x: int, y: int) -> None:
        """An addition around a point."""
        self.parts.append(f'<circle cx="{x}" cy="{y}" r="{PLUS}"/><path d="M{x - 5} {y}h10M{x} {y - 5}v10"/>')

    def text(self, x: int, y: int, text: str, left: bool = False, small: bool = False) -> None:
        """A text around x, or from x on; y is its baseline."""
        names = ' '.join(name for name, is_so in (('left', left), ('small', small)) if is_so)
        self.parts.append(f'<text x="{x}" y="{y}"' + (f' class="{names}"' if names else '') + f'>{escape(text)}</text>')

    def svg(self) -> str:
        """The file."""
        return '\n'.join([*self.parts, '</svg>', ''])


def begin_block(drawing: Drawing) -> int:
    """Draw a block down to the rails of its splits; return y of the rails."""
    drawing.text(260, 18, 'x')
    drawing.line((260, 24), (260, 44))
    return drawing.box(260, 44, 440, '1×1 convolution, BN, ReLU: s·w channels',
                       note='cut into s = 4 splits of w channels')


def end_block(drawing: Drawing, y: int) -> None:
    """Draw a block from the concatenation, at y, to its output, and where the shortcut comes in."""
    bottom = drawing.box(260, y, 440, 'concatenation', OTHER)
    drawing.line((260, bottom), (260, bottom + 16))
    bottom = drawing.box(260, bottom + 16, 440, '1×1 convolution, BN')
    addition = bottom + 16 + PLUS
    drawing.line((260, bottom), (260, addition - PLUS))
    drawing.plus(260, addition)
    drawing.line((SHORTCUT, addition), (260 + PLUS, addition))
    drawing.line((260, addition + PLUS), (260, addition + 26))
    bottom = drawing.box(260, addition + 26, 100, 'ReLU', OTHER)
    drawing.line((260, bottom), (260, bottom + 20))


def draw_block() -> str:
    """An ordinary block: K_i takes u_i and what the split before it gave."""
    drawing = Drawing('Res2Net block with four splits', 660, 560)
    rails = begin_block(drawing)
    concatenation, step = 376, 70
    for i, x in enumerate(COLUMNS):
        drawing.text(x + 6, rails + 18, f'u{i + 1}', left=True)
        top = rails + 26 + step * i
        if i == 3:
            drawing.line((x, rails), (x, concatenation))
            drawing.text(x + 6, concatenation - 8, 'y4 = u4', left=True)
            continue
        if i:
            addition = top - 10 - PLUS
            drawing.line((x, rails), (x, addition - PLUS))
            drawing.plus(x, addition)
            drawing.line((COLUMNS[i - 1], addition), (x - PLUS, addition))
            drawing.line((x, addition + PLUS), (x, top))
        else:
            drawing.line((x, rails), (x, top))
        bottom = drawing.box(x, top, 76, f'K{i + 1}', note='3×3')
        drawing.line((x, bottom), (x, concatenation))
        drawing.text(x + 6, concatenation - 8, f'y{i + 1}', left=True)
    drawing.line((260, 34), (SHORTCUT, 34), (SHORTCUT, 376 + 30 + 16 + 30 + 16 + PLUS), arrow=False)
    drawing.text(SHORTCUT + 8, 250, 'shortcut', left=True)
    end_block(drawing, concatenation)
    return drawing.svg()


def draw_stage_block() -> str:
    """The first block of a stage: nothing is added between splits, and the last one is pooled."""
    drawing = Drawing('First block of a stage, with four splits', 660, 424)
    rails = begin_block(drawing)
    concatenation = 214
    for i, x in enumerate(COLUMNS):
        drawing.text(x + 6, rails + 18, f'u{i + 1}', left=True)
        drawing.line((x, rails), (x, rails + 26))
        if i < 3:
            bottom = drawing.box(x, rails + 26, 92, f'K{i + 1}', note='3×3, stride t')
        else:
            bottom = drawing.box(x, rails + 26, 100, 'average', POOL, note='3×3, stride t')
        drawing.line((x, bottom), (x, concatenation))
        drawing.text(x + 6, concatenation - 12, f'y{i + 1}', left=True)
    end = concatenation + 30 + 16 + 30 + 16 + PLUS
    drawing.line((260, 34), (SHORTCUT, 34), (SHORTCUT, rails + 26))
    bottom = drawing.box(SHORTCUT, rails + 26, 110, 'shortcut', note='to stride t')
    drawing.line((SHORTCUT, bottom), (SHORTCUT, end), arrow=False)
    end_block(drawing, concatenation)
    return drawing.svg()


def draw_chain(drawing: Drawing, x: int, y: int, width: int, boxes: list[tuple[str, str, str]]) -> None:
    """Boxes of (text, note, fill) below one another, with an arrow into the first and out of the last."""
    for text, note, fill in boxes:
        drawing.line((x, y), (x, y + 22))
        y = drawing.box(x, y + 22, width, text, fill, note)
    drawing.line((x, y), (x, y + 22))


def draw_stem() -> str:
    """The stems of v1 and v1b."""
    drawing = Drawing('Stem of v1 and of v1b', 600, 352)
    pool = ('max pooling 3×3, stride 2', '64 × h/4 × w/4', POOL)
    stems = (
        ('v1: 3 × h × w', [('7×7 convolution, stride 2', 'BN, ReLU: 64 × h/2 × w/2', CONV), pool]),
        ('v1b: 3 × h × w', [('3×3 convolution, stride 2', 'BN, ReLU: 32 × h/2 × w/2', CONV),
                            ('3×3 convolution', 'BN, ReLU: 32 × h/2 × w/2', CONV),
                            ('3×3 convolution', 'BN, ReLU: 64 × h/2 × w/2', CONV), pool]))
    for x, (title, boxes) in zip((150, 450), stems):
        drawing.text(x, 24, title)
        draw_chain(drawing, x, 32, 220, boxes)
    return drawing.svg()


def draw_shortcut() -> str:
    """The shortcuts of v1 and v1b, beside a block of stride 2."""
    drawing = Drawing('Shortcut of v1 and of v1b at stride 2', 600, 208)
    conv = '1×1 convolution'
    shortcuts = (('v1: c × h × w', [(f'{conv}, stride 2', "BN: c' × h/2 × w/2", CONV)]),
                 ('v1b: c × h × w', [('average pooling 2×2, stride 2', 'c × h/2 × w/2', POOL),
                                     (conv, "BN: c' × h/2 × w/2", CONV)]))
    for x, (title, boxes) in zip((150, 450), shortcuts):
        drawing.text(x, 24, title)
        draw_chain(drawing, x, 32, 240, boxes)
    return drawing.svg()


DIAGRAMS: dict[str, Callable[[], str]] = {
    'block.svg': draw_block,
    'stage_block.svg': draw_stage_block,
    'stem.svg': draw_stem,
    'shortcut.svg': draw_shortcut,
}


def main() -> None:
    for name, draw in DIAGRAMS.items():
        (FOLDER / name).write_text(draw(), encoding='utf-8')


if __name__ == '__main__':
    main()
