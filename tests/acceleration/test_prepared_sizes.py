"""Which sizes are prepared for, and when."""
from res2net_mm.acceleration.prepared_sizes import MOST_SIZES, PreparedSizes


def test_at_the_second_appearance():
    sizes, prepared = PreparedSizes(), []
    outs = [sizes.get(size, lambda: prepared.append(size) or f'for {size}', 'for any') for size in (1, 2, 1, 1, 3, 2)]  # noqa: B023
    assert outs == ['for any', 'for any', 'for 1', 'for 1', 'for any', 'for 2']
    assert prepared == [1, 2] and len(sizes) == 2


def test_no_more_than_the_first_sizes_that_come_again():
    sizes = PreparedSizes()
    for _ in range(3):
        outs = [sizes.get(size, lambda: True) for size in range(MOST_SIZES + 3)]
    assert outs == [True] * MOST_SIZES + [None] * 3
    assert len(sizes) == MOST_SIZES
