"""Looking at many files: shared among the processes of a distributed run, in threads, with a progress bar."""
from __future__ import annotations

import time
from multiprocessing.pool import ThreadPool
from typing import Callable, Hashable, Iterable, Iterator, TypeVar

File = TypeVar('File', bound=Hashable)
Result = TypeVar('Result')
THREADS = 8  # a process waits for files; on a network file system for most of the time
DELAY = 3.  # seconds before there is a progress bar


def check_files(files: Iterable[File], check: Callable[[File], str | None], title: str) -> dict[File, str]:
    """What is wrong with files, for those that are bad, in their order; arguments and errors as of ``map_files``."""
    return {file: defect for file, defect in map_files(files, check, title).items() if defect}


def map_files(files: Iterable[File], function: Callable[[File], Result], title: str) -> dict[File, Result]:
    """Look at files, each once: every process of a distributed run takes its share, and all get all results.

    All processes have to call this, with the same files.

    Args:
        files (Iterable[File]): Paths, or whatever the function takes that can be hashed and pickled.
        function (Callable): What is asked of a file; the result is one that can be pickled. Threads call it.
        title (str): What is done, for the progress bar of the first process.

    Returns:
        dict[File, Result]: The results, in the order of the files.

    Raises:
        Exception: What the function raises, in all processes.
    """
    from mmengine.dist import all_gather_object, get_dist_info
    rank, processes = get_dist_info()
    files = list(dict.fromkeys(files))
    found: dict[File, Result] | Exception
    try:
        found = map_share(files[rank::processes], function, title if rank == 0 else None)
    except Exception as error:  # the others would wait for this process
        found = error
    results: dict[File, Result] = {}
    for part in all_gather_object(found):
        if isinstance(part, Exception):
            raise part
        results.update(part)
    return {file: results[file] for file in files}


def map_share(files: list[File], function: Callable[[File], Result], title: str | None) -> dict[File, Result]:
    """Look at files in threads, with a progress bar if there is a title."""
    with ThreadPool(THREADS) as pool:
        results: Iterator[Result] = pool.imap(function, files, chunksize=16)
        if title:
            results = show_progress(results, len(files), title)
        return dict(zip(files, results))


def show_progress(results: Iterator[Result], total: int, title: str) -> Iterator[Result]:
    """Pass on results, and show how many are done: after some seconds, and only in a terminal."""
    from rich.console import Console
    from rich.progress import Progress
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from results
        return
    progress, start = Progress(console=console, transient=True), time.monotonic()
    task = progress.add_task(title, total=total)
    try:
        for result in results:
            if not progress.live.is_started and time.monotonic() - start > DELAY:
                progress.start()
            progress.advance(task)
            yield result
    finally:
        progress.stop()
