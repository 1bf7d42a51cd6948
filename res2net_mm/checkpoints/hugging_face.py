"""Files of the Hugging Face hub: huggingface_hub says what they are and where they lie, our downloads bring them.

Its own download waits for ever on a host that sends a byte now and then, takes what has no end, and does not compare
the content with the hash (docs/reliability.md). So huggingface_hub (0.20 or newer) gives the token, the version and the
full SHA-256 of a file, and the cache that it shares with other programs (``HF_HOME``, ``HF_HUB_CACHE``); the file comes
with ``download``, into the place in that cache where huggingface_hub would put it.
"""
from __future__ import annotations

import os
import re
import shutil
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from ..utils.whole_file import whole_file
from . import transfer
from .download import AnotherFileError, download
from .transfer import DownloadError, call_in_time

ADDRESS = re.compile(r'https://huggingface\.co/([\w.-]+/[\w.-]+)/resolve/([\w.-]+)/([\w./-]+)$')


class HubFile(NamedTuple):
    """A file in a repository of models.

    Args:
        repository (str): Such as 'timm/res2net50_26w_4s.in1k'.
        revision (str): A branch, a tag or a commit.
        file (str): The path in the repository.
    """

    repository: str
    revision: str
    file: str

    @property
    def folder(self) -> str:
        """The name of the repository's folder in the cache."""
        return f'models--{self.repository.replace("/", "--")}'


def as_hub_file(url: str) -> HubFile | None:
    """Take an address of the hub apart; None for other addresses, and where huggingface_hub is not installed."""
    match = ADDRESS.match(url)
    return HubFile(*match.groups()) if match and '..' not in url and find_spec('huggingface_hub') else None


def endpoint_of(url: str) -> str:
    """An address of the hub at the host that ``HF_ENDPOINT`` names; any other as it is."""
    endpoint = os.environ.get('HF_ENDPOINT', '').rstrip('/')
    return endpoint + urlsplit(url).path if endpoint and ADDRESS.match(url) else url


def is_offline(url: str) -> bool:
    """Whether this is an address of the hub, and ``HF_HUB_OFFLINE`` or ``TRANSFORMERS_OFFLINE`` says not to ask it."""
    flags = (os.environ.get(name, '').upper() for name in ('HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'))
    return bool(ADDRESS.match(url)) and any(flag in ('1', 'ON', 'YES', 'TRUE') for flag in flags)


def find_in_hub_cache(hub_file: HubFile) -> Path | None:
    """Find a file in the cache that programs share; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache
    path = try_to_load_from_cache(hub_file.repository, hub_file.file, cache_dir=_cache(), revision=hub_file.revision)
    return Path(path) if isinstance(path, str) and Path(path).is_file() else None


def named_hash(path: Path) -> str:
    """The SHA-256 that a file in the hub's cache has by the name under which it lies there; '' if it has none."""
    name = path.resolve().name
    return name if re.fullmatch('[0-9a-f]{64}', name) else ''


def fetch_from_hub(hub_file: HubFile, url: str, size: int | None = None, digest: str = '') -> Path:
    """Download a file of the hub into the cache that programs share.

    Args:
        hub_file (HubFile): The file.
        url (str): Its address, at the host to ask.
        size (int | None): The bytes that it must have, if they are known. Defaults to None.
        digest (str): How its SHA-256 must begin, as far as that is known. Defaults to ''.

    Returns:
        Path: Where it lies.

    Raises:
        DownloadError: As ``download``, and if the hub does not say what the file is, or has another one.
        OSError: If the cache cannot be written.
    """
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.utils import build_hf_headers
    ask = partial(get_hf_file_metadata, url, timeout=transfer.SILENCE)
    metadata = call_in_time(ask, 'it has not said what the file is')
    etag, commit = metadata.etag or '', metadata.commit_hash or ''
    if not re.fullmatch('[0-9a-f]{64}', etag) or not re.fullmatch('[0-9a-f]{40}', commit):
        raise DownloadError('it names no SHA-256 (ETag) or no commit of the file, as the hub does')
    if size is not None and metadata.size != size:
        raise AnotherFileError(f'it has {metadata.size} bytes instead of {size}')
    if not etag.startswith(digest):
        raise AnotherFileError(f'it has another file: its SHA-256 begins with {etag[:16]} instead of {digest[:16]}')
    folder = Path(_cache()) / hub_file.folder
    blob = folder / 'blobs' / etag
    lock = Path(_cache()) / '.locks' / hub_file.folder / f'{etag}.lock'  # which huggingface_hub itself respects, too
    download(url, blob, metadata.size, etag, build_hf_headers(), lock)
    return _point_to(blob, folder, hub_file, commit)


def _point_to(blob: Path, folder: Path, hub_file: HubFile, commit: str) -> Path:
    """Let the file of a commit be this content, and the revision that commit; by links, or copies without them."""
    path = folder / 'snapshots' / commit / hub_file.file
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or not path.samefile(blob):
        path.unlink(missing_ok=True)
        try:
            path.symlink_to(os.path.relpath(blob, path.parent))
        except FileExistsError:  # of a process that was faster
            pass
        except (OSError, NotImplementedError):
            with open(blob, 'rb') as source, whole_file(path) as file:
                shutil.copyfileobj(source, file)
    if hub_file.revision != commit:
        reference = folder / 'refs' / hub_file.revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(reference) as file:
            file.write(commit.encode())
    return path


def _cache() -> str:
    from huggingface_hub import constants
    return constants.HF_HUB_CACHE
