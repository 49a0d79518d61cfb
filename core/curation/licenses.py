"""Licences of sources: what each asks, and what a mix of them forbids. Not legal advice.

A small table by SPDX id (https://spdx.org/licenses/), with `internal` for data that has no licence
because it is nobody else's, and `unknown`. What is combined must meet what every licence asks.

Knows: licences. Does not know: datasets, sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from core.errors import Invalid

USES: dict[str, str] = {
    "internal": "Used inside the organisation",
    "train": "A model is trained on it",
    "redistribute": "Passed on, whole or in part",
}


@dataclass(frozen=True, slots=True)
class License:
    """One line of the table."""

    name: str
    combining: str
    """What combining it with other sources asks."""
    training: str
    redistributing: str
    attribution: bool = False
    share_alike: str = ""
    """The family whose licence a combination has to carry."""
    commercial: bool = True
    derivatives: bool = True
    hub: str = "other"
    """Its id in the metadata of the Hugging Face hub."""


_NAME = "The source and its licence have to be named."
_FREE = "Nothing is asked."
LICENSES: dict[str, License] = {
    "CC0-1.0": License("Public domain (CC0 1.0)", _FREE, _FREE, _FREE, hub="cc0-1.0"),
    "CC-BY-4.0": License(
        "CC BY 4.0", _NAME, "Name the source where the model is published.", _NAME,
        attribution=True, hub="cc-by-4.0",
    ),
    "CC-BY-SA-4.0": License(
        "CC BY-SA 4.0", "The whole has to be under CC BY-SA 4.0.",
        "Name the source; whether a model is an adaptation is disputed.",
        "Under the same licence, with the source named.",
        attribution=True, share_alike="CC-BY-SA", hub="cc-by-sa-4.0",
    ),
    "CC-BY-NC-4.0": License(
        "CC BY-NC 4.0", "The whole may not be used commercially.",
        "A model for a commercial purpose needs the owner's permission.",
        "Only for purposes that are not commercial, with the source named.",
        attribution=True, commercial=False, hub="cc-by-nc-4.0",
    ),
    "CC-BY-NC-SA-4.0": License(
        "CC BY-NC-SA 4.0", "The whole has to be under CC BY-NC-SA 4.0.",
        "A model for a commercial purpose needs the owner's permission.",
        "Under the same licence, not commercially, with the source named.",
        attribution=True, share_alike="CC-BY-NC-SA", commercial=False, hub="cc-by-nc-sa-4.0",
    ),
    "CC-BY-ND-4.0": License(
        "CC BY-ND 4.0", "What was changed or combined may not be passed on.",
        "Whether a model is an adaptation is disputed: ask the owner.",
        "Only unchanged and whole, with the source named.",
        attribution=True, derivatives=False, hub="cc-by-nd-4.0",
    ),
    "Apache-2.0": License(
        "Apache License 2.0", "Notices have to be kept.", _FREE,
        "With the licence's text and the notices, changes stated.", attribution=True,
        hub="apache-2.0",
    ),
    "MIT": License("MIT License", "The notice has to be kept.", _FREE,
                   "With the notice.", attribution=True, hub="mit"),
    "BSD-3-Clause": License("BSD 3-Clause", "The notice has to be kept.", _FREE,
                            "With the notice.", attribution=True, hub="bsd-3-clause"),
    "GPL-3.0": License(
        "GNU GPL 3.0", "The whole has to be under the GPL.",
        "Whether a model is a derived work is disputed: ask the owner.",
        "Under the GPL, with what it was made from.",
        attribution=True, share_alike="GPL", hub="gpl-3.0",
    ),
    "ODC-BY-1.0": License("ODC Attribution 1.0", _NAME, "Name the source.", _NAME,
                          attribution=True, hub="odc-by"),
    "ODbL-1.0": License(
        "Open Database License 1.0", "A combined database has to be under the ODbL.",
        "Name the source; the database behind the model may have to be offered.",
        "Under the ODbL, with the source named.",
        attribution=True, share_alike="ODbL", hub="odbl",
    ),
    "internal": License(
        "Internal", "The whole is internal.", "The model may repeat it: keep it inside too.",
        "Not without the owner's permission.",
    ),
    "unknown": License(
        "Unknown", "Nothing is permitted until it is known.",
        "Nothing is permitted until it is known.", "Nothing is permitted until it is known.",
        hub="unknown",
    ),
}  # fmt: skip
ONE_WAY = {("CC-BY-SA", "GPL")}
"""Families of which the first may be passed on under the second: CC BY-SA 4.0 under the GPL 3.0
(https://creativecommons.org/compatible-licenses)."""


@dataclass(frozen=True, slots=True)
class Warning:
    """One thing that does not go, or that has to be done."""

    severity: str
    """conflict: cannot be met; limit: narrows what may be done; duty: something to do."""
    message: str
    why: str
    licenses: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """As JSON."""
        return {
            "severity": self.severity,
            "message": self.message,
            "why": self.why,
            "licenses": list(self.licenses),
        }


def known(text: str) -> str:
    """The id in LICENSES that a text means, such as `cc by 4.0`; `unknown` for none or others."""
    plain = _plain(text)
    for license_id, license in LICENSES.items():
        if plain in (_plain(license_id), _plain(license.name)):
            return license_id
    bare = re.sub(r"(license|licence|only|orlater|v?\d+)", "", plain)
    for license_id in LICENSES:
        if bare and bare == re.sub(r"(\d|clause)", "", _plain(license_id)):
            return license_id
    return "unknown"


def _plain(text: str) -> str:
    """Letters and figures alone; the 0 of CC0 is part of its name, not a version."""
    return re.sub(r"[^a-z0-9]", "", text.lower()).replace("cc0", "cczero")


def warnings(licenses: Sequence[str], use: str = "redistribute") -> list[Warning]:
    """What a mix of licences forbids or asks for a use, gravest first; [] when nothing.

    `licenses` are names or ids, one a source. Invalid names a use that does not exist.
    """
    if use not in USES:
        raise Invalid(
            f"There is no use {use!r}.", field="use", hint=f"There are {', '.join(USES)}."
        )
    found = list(dict.fromkeys(known(text) for text in licenses))
    if not found:
        found = ["unknown"]
    made = [*_conflicts(found, use), *_limits(found, use), *_duties(found, use)]
    order = ("conflict", "limit", "duty")
    return sorted(made, key=lambda warning: order.index(warning.severity))


def _conflicts(found: Sequence[str], use: str) -> Iterator[Warning]:
    if use == "internal":
        return  # share-alike and no-derivatives ask something of who passes it on
    for one, other in combinations(found, 2):
        families = (LICENSES[one].share_alike, LICENSES[other].share_alike)
        if all(families) and families[0] != families[1]:
            if families in ONE_WAY or families[::-1] in ONE_WAY:
                yield Warning("limit", f"{one} and {other} go together under the GPL alone.",
                              "CC BY-SA 4.0 may be passed on under the GPL 3.0, not the reverse.",
                              (one, other))  # fmt: skip
                continue
            yield Warning(
                "conflict",
                f"{one} and {other} cannot be combined and passed on.",
                "Each asks that the whole carries its own licence.",
                (one, other),
            )
    alike = [name for name in found if LICENSES[name].share_alike]
    closed = [name for name in found if not LICENSES[name].commercial]
    for name in alike:
        for other in closed:
            if LICENSES[name].commercial:
                yield Warning(
                    "conflict",
                    f"{name} and {other} cannot be combined and passed on.",
                    f"{name} asks that the whole may be used commercially, {other} forbids it.",
                    (name, other),
                )


def _limits(found: Sequence[str], use: str) -> Iterator[Warning]:
    for name in found:
        license = LICENSES[name]
        what = license.training if use == "train" else license.redistributing
        if name == "unknown":
            yield Warning("limit", "The licence of a source is unknown.",
                          "Without a licence the law permits next to nothing: find it out.",
                          (name,))  # fmt: skip
        elif name == "internal" and use != "internal":
            yield Warning("limit", "A source is internal.", what, (name,))
        if not license.commercial:
            yield Warning("limit", f"{name} permits no commercial use.", what, (name,))
        if not license.derivatives and use != "internal":
            yield Warning(
                "limit", f"{name} permits no changed or combined versions.", what, (name,)
            )
        if license.share_alike and use == "redistribute":
            yield Warning("limit", f"What is made with {name} has to be under {name}.",
                          license.combining, (name,))  # fmt: skip
        elif license.share_alike and use == "train":
            yield Warning("limit", f"{name} may reach the model.", what, (name,))


def _duties(found: Sequence[str], use: str) -> Iterator[Warning]:
    named = tuple(name for name in found if LICENSES[name].attribution)
    if named and use != "internal":
        yield Warning(
            "duty",
            f"Name the sources under {', '.join(named)}.",
            "These licences ask for the source, the licence and the changes to be named.",
            named,
        )
