"""The wish to stop, and the death of the process that started this one.

Knows: signals, one file, process ids. Does not know: training. Light: it listens before torch is
imported.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any


class Stop:
    """The wish to stop: the file, SIGTERM, SIGINT."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.signalled = False

    def listen(self) -> None:
        """From now on SIGTERM and SIGINT ask for a stop; only in a main thread."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._asked)

    def _asked(self, *_: Any) -> None:
        self.signalled = True

    def asked(self) -> bool:
        """Whether somebody asked."""
        return self.signalled or self.path.exists()


def end_with_parent() -> None:
    """With LATHE_PARENT_PID set, end this process when that one is gone, however it went."""
    given = os.environ.get("LATHE_PARENT_PID", "")
    if given.isdigit():
        threading.Thread(target=_wait_for, args=(int(given),), name="parent", daemon=True).start()


def _wait_for(parent: int) -> None:
    own = os.getppid() == parent
    while _alive(parent) and not (own and os.getppid() != parent):
        time.sleep(1)
    os._exit(1)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
