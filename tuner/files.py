"""Files that are written as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file as a whole: a reader sees the old text or the new, also when the machine stops in between.

    Raises:
        OSError: it cannot be written; the old file, if any, is as it was.
    """
    path = path.resolve()  # of a link, the file that it leads to is replaced
    if path.exists() and not path.is_file():  # a device, or a pipe
        path.write_text(text, encoding="utf-8")
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        # What fails while it writes, as on a full disk, names no file by itself.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        draft.unlink(missing_ok=True)
