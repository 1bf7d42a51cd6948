"""The two formats of ``torch.save``: a zip archive (from PyTorch 1.6 on), and pickles followed by raw numbers."""
from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from .constructors import ForeignError, Numbers, UnfitError
from .unpickling import PickleFile, Unpickler

MAGIC = 0x1950a86a20f9469cfc6c  # the first pickle of the older format, and its version
PROTOCOL = 1001
CHUNK = 1 << 24  # bytes
MapLocation = Any  # as for torch.load: a device, a dict, a function, or None


class DamagedError(ValueError):
    """A file is not whole. The text says what is wrong with it."""


def read_archive(path: Path, map_location: MapLocation) -> Any:
    """Read the newer format.

    No number is looked at by anyone but this function: the archive has one reader, so what was checked is what is read.

    Args:
        path (Path): The file.
        map_location (MapLocation): As for ``torch.load``.

    Returns:
        Any: What was saved.

    Raises:
        UnfitError, ForeignError, DamagedError: If it cannot be taken. Other errors mean that it is damaged, too.
    """
    with zipfile.ZipFile(path) as archive:
        members = _check_members(archive, path.stat().st_size)
        root = next(name for name in members if name.endswith('data.pkl'))[:-len('data.pkl')]
        order = members.get(f'{root}byteorder')
        if order and archive.read(order).decode() != sys.byteorder:
            raise UnfitError(f'has numbers that are not {sys.byteorder}-endian, as on this computer; save it here')
        content = _read_member(archive, members[f'{root}data.pkl'])
        storages: dict[str, torch.UntypedStorage] = {}

        def storage(dtype: torch.dtype, key: str, location: str, count: int) -> Numbers:
            if key not in storages:
                member = members.get(f'{root}data/{key}')
                _check_count(count, dtype, member.file_size if member else 0, key)
                numbers = torch.empty(0, dtype=torch.uint8)
                if member:
                    numbers = _fill(member.file_size, _CheckedMember(archive, member))
                storages[key] = _place(numbers.untyped_storage(), location, map_location)
            return Numbers(dtype, storages[key].nbytes() // _width(dtype), storages[key])

        return Unpickler(PickleFile(io.BytesIO(content), len(content), path.stat().st_size), storage).load()


def _check_members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    members = {info.filename: info for info in archive.infolist()}
    names = list(members)
    if any(name.endswith('constants.pkl') for name in names):
        raise ForeignError("a TorchScript program; save the model's state_dict() instead")
    if not any(name.endswith('data.pkl') for name in names):
        raise ForeignError(f'a zip archive of something else ({", ".join(names[:3])}, ...)')
    if len(names) < len(archive.infolist()):
        raise UnfitError('has two parts of the same name')
    if sum(name.endswith('data.pkl') for name in names) > 1:
        raise UnfitError('has more than one data.pkl')
    end = 0
    for info in sorted(members.values(), key=lambda info: info.header_offset):
        if info.flag_bits & 1:
            raise UnfitError(f'has an encrypted part, {info.filename}')
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise UnfitError(f'has a compressed part, {info.filename}: {info.compress_size} bytes of {info.file_size}; '
                             'torch.save compresses nothing; save the weights with it')
        if info.header_offset < end:
            raise UnfitError(f'has parts that overlap, {info.filename} and the one before it')
        end = info.header_offset + 30 + len(info.filename) + info.file_size  # 30 bytes: the header's fixed part
    if end > size:
        raise DamagedError(f'it announces parts of {end} bytes in a file of {size}')
    return members


class _CheckedMember:
    """A part of an archive, whose checksum is looked at when the last of it is read."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self.name = info.filename
        self.file = archive.open(info)

    def read(self, count: int) -> bytes:
        try:
            return self.file.read(count)
        except zipfile.BadZipFile as error:
            raise DamagedError(f'the checksum of {self.name} is wrong') from error


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    return _CheckedMember(archive, info).read(info.file_size)


def read_pickles(path: Path, map_location: MapLocation) -> Any:
    """Read the older format. Arguments, result and errors are those of ``read_archive``."""
    size = path.stat().st_size
    with open(path, 'rb') as file:
        pickles = PickleFile(file, size, size)
        announced: dict[str, tuple[torch.dtype, str, int]] = {}
        placed: dict[str, torch.UntypedStorage] = {}
        total = 0  # bytes

        def announce(dtype: torch.dtype, key: str, location: str, count: int) -> Numbers:
            nonlocal total
            if key not in announced:
                announced[key] = dtype, location, count
                _check_count(total + count * _width(dtype), torch.uint8, pickles.left, key)
                total += count * _width(dtype)
            return Numbers(dtype, count, None)

        def storage(dtype: torch.dtype, key: str, location: str, count: int) -> Numbers:
            return Numbers(dtype, placed[key].nbytes() // _width(dtype), placed[key])

        if Unpickler(pickles, announce).load() != MAGIC:
            raise ForeignError("a pickle, but neither one of PyTorch's nor of Paddle's; nothing of it was run")
        if Unpickler(pickles, announce).load() != PROTOCOL:
            raise ForeignError("a pickle of an unknown version of PyTorch's older format")
        system = Unpickler(pickles, announce).load()
        if not isinstance(system, dict) or system.get('little_endian') is not (sys.byteorder == 'little'):
            raise UnfitError(f'has numbers that are not {sys.byteorder}-endian, as on this computer; save it here')
        # The numbers follow the pickle that they belong to: it is read once for their sizes, and once with them.
        start = file.tell()
        Unpickler(pickles, announce).load()
        length = file.tell() - start
        for key in Unpickler(pickles, announce).load():
            dtype, location, count = announced[key]
            stored = int.from_bytes(pickles.read(8), 'little')
            if stored != count:
                raise DamagedError(f'it announces {count} numbers for storage {key}, and has {stored}')
            placed[key] = _place(_fill(count * _width(dtype), pickles).untyped_storage(), location, map_location)
        file.seek(start)
        return Unpickler(PickleFile(file, length, size), storage).load()


def _check_count(count: int, dtype: torch.dtype, stored: int, key: str) -> None:
    if count * _width(dtype) > stored:
        raise DamagedError(f'it announces {count * _width(dtype)} bytes (up to storage {key[:50]}), and has {stored}')


def _width(dtype: torch.dtype) -> int:
    return torch.empty(0, dtype=dtype).element_size()


def _fill(size: int, file: IO[bytes] | _CheckedMember | PickleFile) -> torch.Tensor:
    """Read bytes into memory of their own."""
    numbers = torch.empty(size, dtype=torch.uint8)
    view, start = memoryview(numbers.numpy()), 0
    while start < size:
        part = file.read(min(CHUNK, size - start))
        if not part:
            raise DamagedError('the file ends in the middle of a tensor')
        view[start:start + len(part)] = part
        start += len(part)
    return numbers


def _place(storage: torch.UntypedStorage, location: str, map_location: MapLocation) -> torch.UntypedStorage:
    """Move numbers to the device that ``map_location`` gives instead of ``location``, as ``torch.load`` does."""
    if callable(map_location):
        moved = map_location(storage, location)
        if moved is not None:
            return moved
    elif isinstance(map_location, dict):
        location = map_location.get(location, location)
    elif map_location is not None:
        location = str(torch.device(map_location))
    if location == 'meta':
        raise UnfitError("has weights on the device 'meta', which have shapes and no values")
    return torch.serialization.default_restore_location(storage, location)
