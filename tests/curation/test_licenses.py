"""Licences: what names mean, what goes together, what has to be done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.curation.licenses import LICENSES, USES, known, warnings
from core.errors import Invalid


@pytest.mark.parametrize(
    ("text", "license_id"),
    [
        ("CC0-1.0", "CC0-1.0"), ("cc-by 4.0", "CC-BY-4.0"), ("CC BY-SA", "CC-BY-SA-4.0"),
        ("cc-by-nc-4.0", "CC-BY-NC-4.0"), ("cc-by-nc-sa", "CC-BY-NC-SA-4.0"),
        ("apache 2.0", "Apache-2.0"), ("Apache License 2.0", "Apache-2.0"), ("MIT", "MIT"),
        ("MIT License", "MIT"), ("BSD", "BSD-3-Clause"), ("GPL-3.0-or-later", "GPL-3.0"),
        ("odc-by", "ODC-BY-1.0"), ("ODbL", "ODbL-1.0"), ("Internal", "internal"),
        ("", "unknown"), ("ask Bob", "unknown"), ("CC0", "CC0-1.0"), ("cc0 licence", "CC0-1.0"),
        ("CC", "unknown"), ("cc 4.0", "unknown"), ("license", "unknown"), ("3", "unknown"),
    ],
)  # fmt: skip
def test_names_mean_what_people_write(text: str, license_id: str) -> None:
    assert known(text) == license_id


def said(licenses: list[str], use: str = "redistribute") -> list[tuple[str, str]]:
    return [(warning.severity, warning.message) for warning in warnings(licenses, use)]


def test_the_public_domain_asks_nothing() -> None:
    for use in USES:
        assert said(["CC0-1.0"], use) == []


def test_two_share_alike_licences_exclude_each_other_but_for_the_gpl() -> None:
    assert ("conflict", "CC-BY-SA-4.0 and ODbL-1.0 cannot be combined and passed on.") in said(
        ["CC-BY-SA-4.0", "ODbL-1.0"]
    )
    gpl = said(["GPL-3.0", "CC-BY-SA-4.0"])
    assert not [1 for severity, _ in gpl if severity == "conflict"]
    assert ("limit", "GPL-3.0 and CC-BY-SA-4.0 go together under the GPL alone.") in gpl


def test_share_alike_and_not_commercial_exclude_each_other() -> None:
    found = said(["CC-BY-SA-4.0", "CC-BY-NC-4.0"])
    assert found[0][0] == "conflict"
    assert not [1 for severity, _ in said(["CC-BY-NC-SA-4.0", "CC-BY-NC-4.0"])
                if severity == "conflict"]  # fmt: skip


def test_what_stays_inside_owes_nothing_but_an_unknown_licence_is_told() -> None:
    assert said(["CC-BY-SA-4.0", "ODbL-1.0", "CC-BY-ND-4.0"], "internal") == []
    assert said(["internal"], "internal") == []
    assert said(["unknown", "MIT"], "internal") == [
        ("limit", "The licence of a source is unknown.")
    ]
    assert said([]) == [("limit", "The licence of a source is unknown.")]


def test_each_warning_says_why_and_names_its_licences() -> None:
    for use in USES:
        for license_id in LICENSES:
            for warning in warnings([license_id, "CC-BY-NC-4.0"], use):
                assert warning.why.endswith(".")
                assert set(warning.licenses) <= {license_id, "CC-BY-NC-4.0"}
    with pytest.raises(Invalid, match="no use"):
        warnings(["MIT"], "sell")


@given(st.lists(st.sampled_from(sorted(LICENSES)), max_size=5), st.sampled_from(sorted(USES)))
def test_order_and_repetition_change_nothing(licenses: list[str], use: str) -> None:
    one = {(w.severity, w.message) for w in warnings(licenses, use) if len(w.licenses) == 1}
    two = {
        (w.severity, w.message)
        for w in warnings([*reversed(licenses), *licenses], use)
        if len(w.licenses) == 1
    }
    assert one - {o for o in one if o[0] == "duty"} == two - {o for o in two if o[0] == "duty"}
    more = warnings([*licenses, "CC-BY-NC-4.0"], use)
    assert len(more) >= len([w for w in warnings(licenses, use) if w.severity == "conflict"])
