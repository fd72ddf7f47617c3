import json

import pytest

from ekd_edge.errors import ConfigError
from ekd_train.config import SignalConfig, TrainConfig, load_preset, preset_names


@pytest.mark.parametrize("name", preset_names())
def test_preset_is_valid_and_has_aligned_windows(name: str) -> None:
    config = load_preset(name)
    gsr, eeg = config.signal.gsr(), config.signal.eeg()
    assert gsr.window_samples == eeg.window_samples == (256 if name == "demo" else 512)
    assert gsr.hop_samples == eeg.hop_samples
    assert gsr.unit == "uS"


def test_json_round_trip_keeps_everything() -> None:
    config = load_preset("smoke").override(["targets=['valence', 'arousal']", "feedback.every=8", "high=at-or-above"])
    assert config.high == "at-or-above"
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_override_reads_toml_values_and_plain_words() -> None:
    config = TrainConfig().override(["student.epochs=3", "data=recordings:here", "student.learning_rate=1"])
    assert (config.student.epochs, config.data, config.student.learning_rate) == (3, "recordings:here", 1.0)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("student.epoch=3", "no setting 'student.epoch'"),
        ("student.epochs", "write it as key=value"),
        ("student.epochs=three", "must be of type int"),
        ("student.epochs=true", "must be of type int"),
        ("student.epochs=0", "student.epochs = 0: it must be at least 1"),
        ("network.gate=cubic", "choose one of softsign, hardtanh"),
        ("high=below", "choose one of above, at-or-above"),
        ("targets=[]", "at least one rating"),
        ("nothing.at.all=1", "no setting"),
    ],
)
def test_wrong_setting_is_refused_in_one_sentence(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig().override([assignment])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"rate_hz": "fast"}, {"normalization": "none such"}, {"window_s": -1.0}])
def test_impossible_signal_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        SignalConfig(**change).gsr()  # type: ignore[arg-type]


def test_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="paper"):
        load_preset("papr")


def test_raw_eeg_can_be_band_passed() -> None:
    assert SignalConfig().eeg().sos == ()
    assert len(SignalConfig(eeg_low_hz=4.0, eeg_high_hz=45.0).eeg().sos) == 4
    with pytest.raises(ConfigError, match=r"\[signal\]: a filter of 45 and 4 Hz"):
        SignalConfig(eeg_low_hz=45.0, eeg_high_hz=4.0).eeg()


@pytest.mark.parametrize(("data", "state"), [("deap:DEAP", "restarted"), ("recordings:mine", "carried")])
def test_saved_configuration_of_an_earlier_version_describes_that_version(data: str, state: str) -> None:
    saved = TrainConfig(data=data).to_json()
    assert TrainConfig.from_saved(saved) == TrainConfig(data=data)
    for name in ("normalization_state", "keep_bad_windows", "bound", "bridge_s"):
        del saved["signal"][name]
    del saved["network"]["student_noise"]
    config = TrainConfig.from_saved(saved)
    assert (config.signal.normalization_state, config.signal.keep_bad_windows) == (state, True)
    assert config.signal.gsr().normalization.bound == "none"
    assert config.signal.gsr().bridge_s == config.signal.eeg().bridge_s == 0
    assert config.network.student_noise == 0
