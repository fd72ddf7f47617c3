"""eSports Sensors as recordings for ekd: EEG and skin conductance of people who play a match, and their deaths in it.

    python examples/esports.py DATASET mine
    ekd-train --preset smoke --data recordings:mine --target death --set signal.rate_hz=1 --set signal.cutoff_hz=0.4
        --set signal.eeg_features=raw

DATASET is the folder with matches/match_N/player_K. Smerdov et al. 2020, "Collection and Validation of
Psychophysiological Data from Professional and Amateur Players: a Multimodal eSports Dataset", arXiv:2011.00958, licence
CC BY 4.0: https://github.com/smerdov/eSports_Sensors_Dataset

Both signals have one value a second. EEG is band power: the columns are the logarithms of 5 bands of 5 electrodes, not
microvolts. A trial of 40 s is rated 8 if the player's own death is in it, and 2 if no death, kill or assist of the
player is near it. The rating is an event and not a felt emotion: in the game, a death also stops the hands.

Events of replay.json are 9 s late against the sensors. Left out are three matches whose events do not fit the sensors,
one player with a bad contact and one with a saturated sensor.
"""

import csv
import json
import math
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError, EkdError
from ekd_train.data.datasets.recordings import write_recording
from ekd_train.data.windows import Recording, Trial

EVENTS_LATE_S = 9.0
MISALIGNED = (7, 14, 16)
BAD_CONTACT, SATURATED = (11, 4), (17, 3)
TRIAL_S, BEFORE_S, QUIET_S = 40.0, 5.0, 30.0
SMALLEST_POWER = 1e-3


def read_table(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """The names of the columns without the time, and the rows with the time: float64 (n, 1 + columns)."""
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    table = np.array(rows, dtype=np.float64)
    if not np.array_equal(np.diff(table[:, 0]), np.ones(len(table) - 1)):
        raise DataError(f"{path} does not have one row a second: copy the dataset again")
    return names[1:], table


def trials_of(player: dict[str, list[float]], first_s: float, length_s: float) -> tuple[Trial, ...]:
    """Trials around deaths, and quiet ones between events, in order; times are seconds since the first sample.

    Args:
        player: the times of events of replay.json, in its own seconds.
        first_s: time of the first sample on the sensors' clock.
        length_s: length of the recording.
    """
    deaths, others = (
        [time - EVENTS_LATE_S - first_s for key in keys for time in player[key]]
        for keys in (("deathTimes",), ("killTimes", "assistTimes"))
    )
    trials: list[Trial] = []
    end_s = 0.0
    for death in [*sorted(deaths), math.inf]:
        events = [event for event in (*deaths, *others) if event > end_s - QUIET_S]
        start_s = end_s
        while start_s + TRIAL_S <= min(death - BEFORE_S, length_s):
            near = [event for event in events if start_s - QUIET_S < event < start_s + TRIAL_S + QUIET_S]
            if near:
                start_s = max(near) + QUIET_S
                continue
            trials.append(Trial(f"quiet-{start_s:.0f}", start_s, start_s + TRIAL_S, {"death": 2.0}))
            start_s = end_s = start_s + TRIAL_S
        start_s = death - BEFORE_S
        if start_s >= end_s and start_s + TRIAL_S <= length_s:
            end_s = start_s + TRIAL_S
            trials.append(Trial(f"death-{death:.0f}", start_s, end_s, {"death": 8.0}))
    return tuple(trials)


def recordings_of(match: Path, number: int) -> Iterator[Recording]:
    """The recordings of the players of a match who wore both sensors."""
    team = json.loads((match / "meta_info.json").read_text(encoding="utf-8"))["team"]
    replay = json.loads((match / "replay.json").read_text(encoding="utf-8"))
    for folder in sorted(match.glob("player_*")):
        player = int(folder.name.removeprefix("player_"))
        paths = folder / "eeg_band_power.csv", folder / "gsr.csv"
        if not all(path.is_file() for path in paths) or (number, player) in (BAD_CONTACT, SATURATED):
            continue
        (bands, eeg), (_, gsr) = map(read_table, paths)
        first_s = max(eeg[0, 0], gsr[0, 0])
        last_s = min(eeg[-1, 0], gsr[-1, 0])
        eeg, gsr = (table[(table[:, 0] >= first_s) & (table[:, 0] <= last_s)] for table in (eeg, gsr))
        yield Recording(
            name=f"match{number:02d}-{team}-{player}",
            subject=f"{team}-{player}",
            gsr=1e6 / gsr[:, 1],
            rate_hz=Fraction(1),
            trials=trials_of(replay[folder.name], first_s, float(len(gsr))),
            eeg=np.log(eeg[:, 1:].T + SMALLEST_POWER),
            channels=tuple(name.replace("/", "_") for name in bands),
        )


def main(arguments: Sequence[str]) -> int:
    """Convert all matches; returns the exit status."""
    if len(arguments) != 2:
        print(__doc__)
        return 2
    dataset, out = map(Path, arguments)
    try:
        matches = {int(path.name.removeprefix("match_")): path for path in dataset.glob("matches/match_*")}
        if not matches:
            raise DataError(f"{dataset} holds no matches/match_N: name the folder of the eSports Sensors dataset")
        for number, match in sorted(matches.items()):
            if number in MISALIGNED:
                continue
            for recording in recordings_of(match, number):
                write_recording(out / f"{recording.name}.csv", recording)
                deaths = sum(trial.ratings["death"] > 5 for trial in recording.trials)
                print(
                    f"{recording.name}: {len(recording.gsr) / 60:.0f} min, {deaths} deaths of {len(recording.trials)}"
                )
    except (EkdError, OSError) as error:
        print(f"esports: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
