from pathlib import Path

import pytest

from ekd_edge.errors import DataError
from ekd_train.data.datasets.deap_order import find_ratings_file, read_order

HEADER = "Participant_id,Trial,Experiment_id,Start_time,Valence\n"


def table(path: Path, rows: str, header: str = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + rows)
    return path


def test_order_is_that_of_presentation(tmp_path: Path) -> None:
    path = table(tmp_path / "r.csv", "1,2,1,9,5\n1,1,3,5,5\n1,3,2,12,5\n12,1,1,0,5\n12,2,2,1,5\n12,3,3,2,5\n")
    assert read_order(path, 3) == {"s01": (3, 1, 2), "s12": (1, 2, 3)}


@pytest.mark.parametrize("place", ["data", "", "metadata_csv"])
def test_table_is_found_beside_the_data(tmp_path: Path, place: str) -> None:
    (tmp_path / "data").mkdir()
    assert find_ratings_file(tmp_path / "data") is None
    path = table(tmp_path / place / "participant_ratings.csv", "")
    assert find_ratings_file(tmp_path / "data") == path


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ("1,1,1\n1,1,2\n", "Participant_id,Trial,Experiment_id\n", "names trial 1 of subject 1 twice"),
        ("1,1,1\n", "Participant_id,Trial,Experiment_id\n", "does not name each of the 2 trials of s01 once"),
        ("1,1,1\n1,2,1\n", "Participant_id,Trial,Experiment_id\n", "does not name each"),
        ("1,1\n", "Participant_id,Trial\n", "not DEAP's table of ratings"),
        ("1,x,1\n", "Participant_id,Trial,Experiment_id\n", "not DEAP's table of ratings"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, rows: str, header: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_order(table(tmp_path / "r.csv", rows, header), 2)
