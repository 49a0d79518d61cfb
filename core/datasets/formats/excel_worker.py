"""A spreadsheet's rows as JSON lines on standard output; run as a process of its own.

The library that reads sheets holds a whole sheet as a grid: two cells in far corners are enough to
ask for terabytes, and it ends its process when they are refused. So it gets one with a limit.

    python -m core.datasets.formats.excel_worker [SHEET] < FILE

The first line is {"sheets": [...], "sheet": name, "start": row of the first line of cells}; every
other is a row of cells; {"error": ..., "hint": ...} ends the output where it cannot go on.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import sys
from typing import Any

MEMORY_BYTES = 3 * 1024**3
CPU_SECONDS = 900


def main() -> None:
    """Read standard input, which has to be a file, and write its rows."""
    _limit()
    try:
        for line in _lines(sys.argv[1] if len(sys.argv) > 1 else None):
            sys.stdout.write(json.dumps(line) + "\n")
    except BrokenPipeError:
        pass
    sys.stdout.flush()


def _limit() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        for what, most in (
            (resource.RLIMIT_AS, MEMORY_BYTES),
            (resource.RLIMIT_CPU, CPU_SECONDS),
            (resource.RLIMIT_CORE, 0),
        ):
            hard = resource.getrlimit(what)[1]
            allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (allowed, hard))


def _lines(wanted: str | None) -> Any:
    from python_calamine import CalamineWorkbook, PasswordError, SheetVisibleEnum

    try:
        workbook = CalamineWorkbook.from_filelike(sys.stdin.buffer)
        sheets = workbook.sheets_metadata
        names = [sheet.name for sheet in sheets]
        visible = [s.name for s in sheets if s.visible == SheetVisibleEnum.Visible]
        name = wanted if wanted is not None else next(iter(visible or names), None)
        if name is None or name not in names:
            yield {"sheets": names, "sheet": None, "start": 0}
            return
        sheet = workbook.get_sheet_by_name(name)
        start = sheet.start[0] + 1 if sheet.start else 1
        yield {"sheets": names, "sheet": name, "start": start}
        for row in sheet.to_python(skip_empty_area=True):
            yield [_cell(value) for value in row]
    except PasswordError:
        yield {"error": "The file is protected by a password.", "hint": "Save it without one."}
    except MemoryError:
        raise
    except BrokenPipeError:
        raise
    except BaseException as error:  # a panic of the library is no Exception
        yield {
            "error": f"The spreadsheet is damaged: {str(error)[:200]}.",
            "hint": "Save it again.",
        }


def _cell(value: Any) -> Any:
    if value == "":
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    return str(value) if isinstance(value, datetime.timedelta) else value


if __name__ == "__main__":
    main()
