"""Stress-Predict as recordings for ekd: wrist skin conductance of real people, at rest and under stress tasks.

    python examples/stress_predict.py DATASET mine
    ekd-train --preset smoke --data recordings:mine --target stress

DATASET holds S02 .. S35, each with the EDA.csv of an Empatica E4, and Improved_All_Combined_hr_rsp_binary.csv.
Iqbal et al. 2022, "Stress Monitoring Using Wearable Sensors: A Pilot Study and Stress-Predict Dataset", Sensors 22(21)
8135, MIT licence: https://github.com/italha-d/Stress-Predict-Dataset

Every stretch of one label becomes a trial: rated 2 for rest and 8 for a stress task. There is no EEG, so no teacher.
"""

import csv
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from ekd_edge.errors import DataError, EkdError
from ekd_train.data.datasets.recordings import write_recording
from ekd_train.data.windows import Recording, Trial

LABELS = "Improved_All_Combined_hr_rsp_binary.csv"
RATING = {"0": 2.0, "1": 8.0}
SHORTEST_S = 8


def read_labels(path: Path) -> dict[int, list[tuple[int, str]]]:
    """(unix second, label) of every participant, in order of time."""
    seconds: dict[int, list[tuple[int, str]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            seconds.setdefault(int(row["Participant"]), []).append((int(row["Time(sec)"]), row["Label"]))
    return {person: sorted(rows) for person, rows in seconds.items()}


def trials_of(seconds: Sequence[tuple[int, str]], start_s: float, length_s: float) -> tuple[Trial, ...]:
    """A trial for every run of consecutive seconds of one label, in seconds since the recording's first sample."""
    runs: list[list[tuple[int, str]]] = []
    for one in seconds:
        if runs and one[1] == runs[-1][-1][1] and one[0] - runs[-1][-1][0] <= 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    trials = []
    for number, run in enumerate(runs):
        begin = max(0.0, run[0][0] - start_s)
        end = min(length_s, run[-1][0] + 1 - start_s)
        if end - begin >= SHORTEST_S:
            trials.append(Trial(f"t{number:02d}", begin, end, {"stress": RATING[run[0][1]]}))
    return tuple(trials)


def read_person(folder: Path, person: int, seconds: Sequence[tuple[int, str]]) -> Recording:
    """The recording of one participant."""
    lines = (folder / f"S{person:02d}" / "EDA.csv").read_text(encoding="utf-8").split()
    start_s, rate_hz, values = float(lines[0]), Fraction(lines[1]), np.array(lines[2:], dtype=np.float64)
    trials = trials_of(seconds, start_s, float(len(values) / rate_hz))
    return Recording(f"S{person:02d}", f"S{person:02d}", values, rate_hz, trials)


def main(arguments: Sequence[str]) -> int:
    """Convert everybody; returns the exit status."""
    if len(arguments) != 2:
        print(__doc__)
        return 2
    dataset, out = map(Path, arguments)
    try:
        if not (dataset / LABELS).is_file():
            raise DataError(f"{dataset} holds no {LABELS}: name the folder of the Stress-Predict dataset")
        for person, seconds in sorted(read_labels(dataset / LABELS).items()):
            recording = read_person(dataset, person, seconds)
            write_recording(out / f"{recording.name}.csv", recording)
            kinds = [trial.ratings["stress"] > 5 for trial in recording.trials]
            print(f"{recording.name}: {len(recording.gsr) / 4 / 60:.0f} min, {sum(kinds)} stress tasks of {len(kinds)}")
    except (EkdError, OSError) as error:
        print(f"stress_predict: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
