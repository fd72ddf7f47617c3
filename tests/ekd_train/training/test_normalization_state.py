"""The accuracy that training reports on trials is that on the unbroken stream of a device (synthetic data)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ekd_train.config import TrainConfig, load_preset
from ekd_train.data.datasets.synthetic import SyntheticConfig, SyntheticDataset
from ekd_train.data.source import Source
from ekd_train.data.splits import holdout_split
from ekd_train.data.windows import Recording
from ekd_train.training.device import Resident
from ekd_train.training.evaluation import evaluate_on_test
from ekd_train.training.loop import SilentReporter
from ekd_train.training.partitions import partition, with_states
from ekd_train.training.stages import train_student
from ekd_train.training.trainer import network_of, other_state_windows, training_windows

LEAD_S = 3.0
CONFIG = load_preset("deap").override(
    [
        *("data=synthetic", "feedback.every=0", "student.epochs=4", "student.learning_rate=2e-3", "signal.rate_hz=32"),
        *("network.student=edge", "network.student_filters=16", "network.student_ffn=16"),
    ]
)


class Stream(SyntheticDataset):
    """Sessions of which each trial is rated from `LEAD_S` on."""

    def read(self, subjects: Sequence[str], eeg: bool = True) -> Iterator[Recording]:
        for session in super().read(subjects, eeg):
            trials = tuple(replace(trial, start_s=trial.start_s + LEAD_S) for trial in session.trials)
            yield replace(session, trials=trials)


class Trials(Stream):
    """The same sessions as DEAP gives them: a recording for each trial, in order of presentation or of the files."""

    in_order = True

    def read(self, subjects: Sequence[str], eeg: bool = True) -> Iterator[Recording]:
        for session in super().read(subjects, eeg):
            order = np.arange(len(session.trials))
            if not self.in_order:
                order = np.random.default_rng(int(session.subject[1:])).permutation(order)
            for position, trial in enumerate(session.trials[k] for k in order.tolist()):
                start = trial.start_s - LEAD_S
                begin, end = (round(each * session.rate_hz) for each in (start, trial.end_s))
                yield replace(
                    session,
                    name=f"{session.name}-{trial.name}",
                    gsr=session.gsr[begin:end],
                    trials=(replace(trial, start_s=LEAD_S, end_s=trial.end_s - start),),
                    continues=position > 0,
                )


class Unordered(Trials):
    in_order = False


def accuracies(dataset: Trials, config: TrainConfig, folder: Path) -> tuple[dict[str, float], float]:
    """Accuracy on the trials of test subjects by state, and on their unbroken streams."""
    source, stream_source = Source("trials", dataset), Source("stream", Stream(dataset.config))
    split = holdout_split(source.subjects, 0, 0.15, 0.4)
    windows = training_windows(source, config)
    training_data, test_data = partition(windows, Resident.of(windows, torch.device("cpu")), split)
    other = other_state_windows(source, config, pytest.fail)
    test_data = with_states(test_data, split, config.signal.normalization_state, other)
    network = network_of(windows, config)
    student, _ = train_student(training_data, network, config, [], folder, SilentReporter())
    result = evaluate_on_test(student, test_data)
    assert result["states"][config.signal.normalization_state]["accuracy"] == result["accuracy"]
    stream = training_windows(stream_source, replace(config, signal=CONFIG.signal))
    _, stream_data = partition(stream, Resident.of(stream, torch.device("cpu")), split)
    by_state = {state: float(scores["accuracy"]) for state, scores in result["states"].items()}
    return by_state, evaluate_on_test(student, stream_data)["accuracy"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> SyntheticConfig:
    monkeypatch.setenv("EKD_CACHE", "off")
    return SyntheticConfig(subjects=30, eeg_channels=0, seed=5)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", [Trials, Unordered])
def test_reported_accuracy_of_the_default_is_that_on_the_stream(
    dataset: type[Trials], small: SyntheticConfig, tmp_path: Path
) -> None:
    by_state, stream = accuracies(dataset(small), CONFIG, tmp_path)
    print(by_state, stream)
    assert stream > 0.6
    assert abs(by_state["carried"] - stream) <= 0.02
    assert by_state["restarted"] < stream


@pytest.mark.slow
def test_reported_accuracy_of_restarted_trials_is_not_that_on_the_stream(
    small: SyntheticConfig, tmp_path: Path
) -> None:
    config = replace(CONFIG, signal=replace(CONFIG.signal, normalization_state="restarted"))
    by_state, stream = accuracies(Trials(small), config, tmp_path)
    print(by_state, stream)
    assert stream - by_state["restarted"] > 0.02
