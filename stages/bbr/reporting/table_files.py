"""Tables as files."""

from __future__ import annotations

from pathlib import Path

from ..storage.atomic import write_bytes
from .tables import Table, encode_csv, encode_markdown


def write_table(path: Path, table: Table) -> None:
    """Write a table as .csv, and before it as .md beside it."""
    write_bytes(path.with_suffix(".md"), encode_markdown(table))
    write_bytes(path.with_suffix(".csv"), encode_csv(table))
