"""Suggestions of the nearest known name."""

from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.suggestions import closest, did_you_mean


def test_suggestion_is_the_nearest_name_without_regard_to_case() -> None:
    assert closest("BUNDEL", ["bench", "bundle", "doctor"]) == "bundle"
    assert did_you_mean("Paper-16hz", ["paper", "paper-16Hz"]) == "; did you mean paper-16Hz?"


def test_suggestion_is_absent_where_nothing_is_similar() -> None:
    assert closest("xyz", ["bench", "bundle"]) is None
    assert did_you_mean("xyz", []) == ""


@given(st.lists(st.text(min_size=1), min_size=1), st.data())
def test_suggestion_for_a_known_name_is_that_name_in_some_case(known: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(known))
    found = closest(name, known)
    assert found in known
    assert found.lower() == name.lower()
