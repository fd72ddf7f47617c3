from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.model.subject_hash import hash_subject, hash_subjects, is_subject_hash


def test_hash_never_changes() -> None:
    """Existing model files contain these hashes; with another function their subjects would not be recognised."""
    assert hash_subject("deap", "s01") == "a54ea59cff856939"


@given(identity=st.text(), names=st.lists(st.text(), unique=True))
def test_each_subject_has_its_own_hash(identity: str, names: list[str]) -> None:
    hashes = hash_subjects(identity, names)
    assert len(set(hashes)) == len(names)
    assert all(is_subject_hash(each) for each in hashes)
    assert hashes == hash_subjects(identity, reversed(names))


def test_same_name_in_another_dataset_is_another_subject() -> None:
    assert hash_subject("deap", "s01") != hash_subject("hci-tagging", "s01")


def test_name_is_not_a_hash() -> None:
    assert not any(is_subject_hash(name) for name in ("", "s01", "anna", "0" * 15, "0" * 17, "A" * 16, "0" * 16 + "\n"))
