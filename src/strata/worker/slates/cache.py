"""Slates on the disk, so that the second broadcast in one form needs none made. Blocks.

Only a folder that belongs to this user, and that nobody else can write to, is used: what lies
in it goes out to every viewer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

MOST_FILES: Final = 32
MAX_BYTES: Final = 64 * 1024 * 1024
"""Of one packed slate."""

_SUFFIXES: Final = (".slate", ".slate-tmp")
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class SlateCache:
    """One folder; several workers may share it.

    Args:
        folder: made where it is missing; None for no cache.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._told = False

    def load(self, key: str) -> bytes | None:
        """The packed slate under this key, as far as the disk gives it."""
        try:
            with self._open() as folder:
                if folder is None:
                    return None
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                descriptor = os.open(f"{key}.slate", flags, dir_fd=folder)
                with open(descriptor, "rb") as file:
                    status = os.fstat(descriptor)
                    if not _is_ours(status) or status.st_size > MAX_BYTES:
                        return None
                    os.utime(descriptor)  # the one that was not used for longest goes first
                    return file.read(MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._tell(f"cannot be read ({error.strerror})")
            return None

    def save(self, key: str, packed: bytes) -> None:
        """Whole or not at all; what fails is told in the log, once."""
        try:
            with self._open() as folder:
                if folder is not None:
                    _write(folder, key, packed)
                    _drop_oldest(folder)
        except OSError as error:
            self._tell(f"cannot be written to ({error.strerror})")

    @contextlib.contextmanager
    def _open(self) -> Iterator[int | None]:
        """The folder as a descriptor: what is opened through it is in the folder looked at."""
        if self._folder is None:
            yield None
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            status = os.fstat(folder)
            if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_WRITE:
                self._tell("belongs to another user, or others can write to it (see: ls -ld)")
                yield None
            else:
                yield folder
        finally:
            os.close(folder)

    def _tell(self, why: str) -> None:
        if not self._told:
            self._told = True
            log.warning("the cache of slates %s %s; each slate is made anew", self._folder, why)


def _is_ours(status: os.stat_result) -> bool:
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_uid == os.geteuid()
        and not status.st_mode & _OTHERS_WRITE
    )


def _write(folder: int, key: str, packed: bytes) -> None:
    partial = f"{key}.{secrets.token_hex(4)}.slate-tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with open(os.open(partial, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write(packed)
        os.replace(partial, f"{key}.slate", src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial, dir_fd=folder)
        raise


def _drop_oldest(folder: int) -> None:
    """Of the slates, and of what a worker left that was killed while it wrote one."""
    found = []
    for name in os.listdir(folder):
        if name.endswith(_SUFFIXES):
            with contextlib.suppress(FileNotFoundError):  # another worker dropped it
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                found.append((status.st_mtime_ns, name))
    for _, name in sorted(found)[:-MOST_FILES]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
