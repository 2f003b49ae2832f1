"""Answers as CSV (RFC 4180), line by line, with nothing that a spreadsheet takes for a formula."""

import csv
import re
from collections.abc import Iterable

from django.http import StreamingHttpResponse

CSV_TYPE = "text/csv; charset=utf-8"
_NUMBER = re.compile(r"-?[0-9.]+\Z")


class _Echo:
    """A file for csv.writer: it returns each line instead of storing it, so that lines stream."""

    def write(self, line: str) -> str:
        """The line."""
        return line


def csv_response(name: str, rows: Iterable[Iterable[object]]) -> StreamingHttpResponse:
    """A file to download of that name."""
    writer = csv.writer(_Echo())
    lines = (writer.writerow([csv_cell(value) for value in row]) for row in rows)
    return StreamingHttpResponse(
        lines,
        content_type=CSV_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def csv_cell(value: object) -> str:
    """The value as text; what a spreadsheet would take for a formula is quoted."""
    text = "" if value is None else str(value)
    looks_like_formula = text[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"}
    if looks_like_formula and not _NUMBER.match(text):
        return f"'{text}"
    return text
