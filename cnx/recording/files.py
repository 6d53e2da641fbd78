"""Files with what went over a connection, which may include passwords: only their owner can read them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

__all__ = ["create", "for_owner"]


def create(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for writing bytes, as ``open(path, "wb")`` does; a new one has mode 0600. Raises OSError."""
    return open(Path(path), "wb", opener=for_owner)


def for_owner(path: str, flags: int) -> int:
    """Open a file for ``open(..., opener=for_owner)``; a new one has mode 0600. Raises OSError."""
    return os.open(path, flags, 0o600)
