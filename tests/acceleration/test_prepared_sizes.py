"""Which sizes are prepared for, and when."""
import copy
import pickle
import threading

from res2net_mm.acceleration.prepared_sizes import MOST_SEEN, MOST_SIZES, PreparedSizes


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


def test_the_table_does_not_grow():
    sizes = PreparedSizes()
    for size in range(3 * MOST_SEEN):
        sizes.get(size, lambda: True)
    assert len(sizes.seen) == MOST_SEEN and len(sizes) == 0


def test_several_threads_prepare_once():
    sizes, prepared = PreparedSizes(), []
    start = threading.Barrier(8)

    def run():
        start.wait()
        for _ in range(3):
            sizes.get(1, lambda: prepared.append(1) or 'ready')

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert prepared == [1]


def test_copies_are_empty():
    sizes = PreparedSizes()
    for _ in range(2):
        sizes.get(1, lambda: threading.Lock())
    assert len(sizes) == 1 and not len(copy.deepcopy(sizes)) and not len(pickle.loads(pickle.dumps(sizes)))
