"""participant_ratings.csv of DEAP: the order in which each subject saw the videos.

The preprocessed files hold the trials in the order of their videos, the same for all subjects. The table has a row per
trial: Participant_id (1..32), Trial (1..40, in order of presentation) and Experiment_id (1..40, the video, which is the
number of the trial in the preprocessed file).
"""

import csv
from collections.abc import Mapping
from pathlib import Path

from ekd_edge.errors import DataError

__all__ = ["RATINGS_FILE", "find_ratings_file", "read_order"]

RATINGS_FILE = "participant_ratings.csv"
_COLUMNS = ("Participant_id", "Trial", "Experiment_id")


def find_ratings_file(folder: Path) -> Path | None:
    """Return the table in the folder of the preprocessed files, its parent or metadata_csv there; None without one."""
    places = (folder, folder.parent, folder / "metadata_csv", folder.parent / "metadata_csv")
    return next((place / RATINGS_FILE for place in places if (place / RATINGS_FILE).is_file()), None)


def read_order(path: Path, trials: int) -> Mapping[str, tuple[int, ...]]:
    """Return the numbers of each subject's trials in order of presentation, such as {"s01": (23, 4, ...)}.

    Raises DataError if the table cannot be read, or does not name each of a subject's trials once.
    """
    shown: dict[str, dict[int, int]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file, skipinitialspace=True):
                subject, place, number = (int(row[column]) for column in _COLUMNS)
                if shown.setdefault(f"s{subject:02d}", {}).setdefault(place, number) != number:
                    raise DataError(f"{path} names trial {place} of subject {subject} twice: copy it again")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is not DEAP's table of ratings (whole numbers in {', '.join(_COLUMNS)}): copy it again or "
            "remove it"
        ) from error
    every = list(range(1, trials + 1))
    for name, numbers in shown.items():
        if sorted(numbers) != every or sorted(numbers.values()) != every:
            raise DataError(f"{path} does not name each of the {trials} trials of {name} once: copy it again")
    return {name: tuple(numbers[place] for place in every) for name, numbers in shown.items()}
