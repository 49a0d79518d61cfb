"""The lock files: names and exact versions of what the tests have passed with.

    .venv/bin/python -m app.lock

Knows: the packages installed here and what asks for each. Does not know: any registry; a lock
says what, never from where. A local build tag such as +cpu is left out: it exists on one
machine only, and the plain version gives each platform its own build.
"""

from __future__ import annotations

from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.bootstrap import DEV_LOCK, RUNTIME_LOCK

PROJECT = "lathe"
BUILD = "setuptools"  # the editable install builds with it, without isolation
HEADER = "# Written by `make lock` from the environment that the tests passed in.\n"

Needs = dict[str, set[str]]


def closure(extra: str | None = None) -> Needs:
    """Every package that Lathe needs here, directly or not, with who asks for it."""
    found: Needs = {}
    waiting = [(PROJECT, (extra,) if extra else ())]
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for needed, its_extras in _requirements(name, extras):
            found.setdefault(needed, set()).add(name)
            waiting.append((needed, its_extras))
    if extra is None:
        found.setdefault(BUILD, set()).add(PROJECT)
    return found


def _requirements(name: str, extras: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    """What an installed package asks for on this platform, with these of its extras."""
    found = []
    for line in metadata.requires(name) or []:
        requirement = Requirement(line)
        environments = [{"extra": extra} for extra in ("", *extras)]
        if requirement.marker is None or any(map(requirement.marker.evaluate, environments)):
            needed = canonicalize_name(requirement.name)
            found.append((str(needed), tuple(sorted(requirement.extras))))
    return found


def render(needs: Needs) -> str:
    """A lock file's text."""
    lines = [
        f"{name}=={metadata.version(name).split('+')[0]}\n    # via {', '.join(sorted(by))}\n"
        for name, by in sorted(needs.items())
    ]
    return HEADER + "".join(lines)


def main() -> None:
    """Write both locks; the second holds only what the first does not."""
    runtime = closure()
    dev = {name: by for name, by in closure("dev").items() if name not in runtime}
    RUNTIME_LOCK.write_text(render(runtime))
    DEV_LOCK.write_text(render(dev))


if __name__ == "__main__":
    main()
