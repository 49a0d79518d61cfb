"""Settings: one frozen record, read once from the environment.

Knows: names, defaults and meaning of every setting. Does not know: who uses them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import Invalid

PROJECT_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the settings table in the README."""

    variable: str
    default: str
    meaning: str


SETTINGS: dict[str, Setting] = {
    "home": Setting("LATHE_HOME", "data/workspace", "where everything Lathe keeps lives"),
    "cache": Setting(
        "LATHE_CACHE", "~/.cache/lathe", "downloads and conversions that several homes share"
    ),
    "host": Setting("LATHE_HOST", "127.0.0.1", "address the app listens on; loopback by default"),
    "port": Setting("LATHE_PORT", "8501", "port the app listens on"),
    "allowed_hosts": Setting(
        "LATHE_ALLOWED_HOSTS", "", "host names, comma separated, that a reverse proxy sends"
    ),
    "import_folders": Setting(
        "LATHE_IMPORT_FOLDERS", "", "folders, separated as in PATH, whose data files everybody who "
        "may write datasets can import by their path; admins can name any"
    ),
    "device": Setting("LATHE_DEVICE", "auto", "auto, cpu or cuda:N: where models are loaded"),
    "threads": Setting("LATHE_THREADS", "0", "CPU threads of one model; 0 means all cores"),
    "memory_limit_gb": Setting(
        "LATHE_MEMORY_LIMIT_GB", "0", "most memory for all models together; 0 means what is free"
    ),
    "idle_unload_minutes": Setting(
        "LATHE_IDLE_UNLOAD_MINUTES", "15", "a model nobody asks for is unloaded after this long"
    ),
    "measure": Setting(
        "LATHE_MEASURE", "1", "1 measures the starter model once, when the app first has it"
    ),
    "offline": Setting(
        "LATHE_OFFLINE", "1", "1 never contacts the model hub; 0 allows downloads you ask for"
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """What `SETTINGS` describes, parsed."""

    home: Path
    cache: Path = field(default_factory=lambda: Path("~/.cache/lathe").expanduser())
    host: str = "127.0.0.1"
    port: int = 8501
    allowed_hosts: tuple[str, ...] = ()
    import_folders: tuple[Path, ...] = ()
    device: str = "auto"
    threads: int = 0
    memory_limit_gb: float = 0.0
    idle_unload_minutes: float = 15.0
    measure: bool = True
    offline: bool = True

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read every setting from the environment; raise Invalid naming the first bad one."""
        source = os.environ if env is None else env

        def text(name: str) -> str:
            return source.get(SETTINGS[name].variable, "") or SETTINGS[name].default

        home = Path(text("home")).expanduser()
        return cls(
            home=home if home.is_absolute() else PROJECT_ROOT / home,
            cache=Path(text("cache")).expanduser(),
            host=text("host"),
            port=_number(text("port"), "port", int),
            allowed_hosts=tuple(h.strip() for h in text("allowed_hosts").split(",") if h.strip()),
            import_folders=_folders(text("import_folders")),
            device=text("device"),
            threads=_number(text("threads"), "threads", int),
            memory_limit_gb=_number(text("memory_limit_gb"), "memory_limit_gb", float),
            idle_unload_minutes=_number(text("idle_unload_minutes"), "idle_unload_minutes", float),
            measure=text("measure") != "0",
            offline=text("offline") != "0",
        )


def _folders(text: str) -> tuple[Path, ...]:
    variable = SETTINGS["import_folders"].variable
    found = tuple(Path(part).expanduser() for part in text.split(os.pathsep) if part.strip())
    for folder in found:
        if not folder.is_absolute():
            raise Invalid(
                f"{variable} has to name whole paths, not {str(folder)!r}.", field=variable
            )
    return found


def _number(text: str, name: str, kind: Any) -> Any:
    variable = SETTINGS[name].variable
    try:
        value = kind(text)
    except ValueError:
        raise Invalid(f"{variable} must be a number, not {text!r}.", field=variable) from None
    if value < 0:
        raise Invalid(f"{variable} must not be negative, it is {text}.", field=variable)
    return value
