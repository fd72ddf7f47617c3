"""Write your own measurements as a `recordings:` folder and train a student on it.

    python examples/own_recordings.py FOLDER RUN

Replace `measurements` by code that reads your files. Here it generates noise around a level, so that the example runs
anywhere: the student learns nothing from it.
"""

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

import ekd_train
from ekd_train.data.datasets.recordings import write_recording
from ekd_train.data.windows import Recording, Trial

RATE_HZ = Fraction(16)


def measurements() -> Iterator[Recording]:
    """One recording for each person: two minutes of skin conductance with two rated trials."""
    for number in range(6):
        random = np.random.default_rng(number)
        gsr = 5 + 0.05 * random.standard_normal(120 * 16)  # microsiemens
        trials = (
            Trial("calm", start_s=0, end_s=60, ratings={"arousal": 2}),  # ratings go from 1 to 9
            Trial("tense", start_s=60, end_s=120, ratings={"arousal": 8}),
        )
        yield Recording(f"day1-p{number}", subject=f"p{number}", gsr=gsr, rate_hz=RATE_HZ, trials=trials)


folder, run_folder = map(Path, sys.argv[1:3])
for recording in measurements():
    # Writes FOLDER/NAME.csv and adds the trials to FOLDER/labels.csv.
    write_recording(folder / f"{recording.name}.csv", recording)

# The preset smoke trains for seconds, to check that everything works. Use the preset edge for a real model.
run = ekd_train.train(ekd_train.load_preset("smoke"), data=f"recordings:{folder}", out=run_folder)
test = run.results["student"]["test"]
print(f"accuracy {test['accuracy']:.2f} on {test['subjects']} people who were not in the training (generated noise)")
