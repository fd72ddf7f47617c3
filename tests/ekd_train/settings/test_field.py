"""Settings have a help sentence and a range, and values out of range are refused."""

import pytest

from ekd_edge.errors import ConfigError
from ekd_train.config import TrainConfig, load_preset, preset_names
from ekd_train.settings.field import settings_of_class

SETTINGS = {setting.key: setting for setting in settings_of_class(TrainConfig)}

BAD = {
    "seed": [-1],
    "signal.window_s": [0, -1, "nan", "inf"],
    "signal.hop_s": [0, -1],
    "signal.training_hop_s": [-1],
    "signal.cutoff_hz": [0, -5],
    "signal.settle_s": [-1],
    "signal.bridge_s": [-1, 11],
    "signal.time_constant_s": [0],
    "signal.gain": [0, "nan"],
    "signal.limit": [0, -4, "inf"],
    "signal.eeg_low_hz": [-1],
    "signal.eeg_high_hz": [-1],
    "network.filters": [0],
    "network.kernel": [0],
    "network.stride": [0],
    "network.depth": [1],
    "network.heads": [0],
    "network.key_size": [0],
    "network.ffn": [0],
    "network.head_dropout": [1.0, -0.1, "nan"],
    "network.block_dropout": [1.0, -0.1],
    "network.classifier_dropout": [1.5, -0.1],
    "network.student_filters": [-1],
    "network.student_heads": [-1],
    "network.student_key_size": [-1],
    "network.student_ffn": [-1],
    "network.student_mix": [0, 4],
    "network.student_noise": [-1, 256, "nan"],
    "split.folds": [1],
    "split.fold": [-1],
    "split.validation": [0.0, 1.0],
    "split.test": [0.0, 1.0],
    "split.rated": [0.0, 1.1],
    "teacher.epochs": [0],
    "teacher.batch_size": [1],
    "teacher.learning_rate": [0.0, -1.0, "inf"],
    "teacher.patience": [-1],
    "student.epochs": [0],
    "student.batch_size": [1],
    "student.learning_rate": [0.0],
    "student.patience": [-1],
    "distill.hard": [-1],
    "distill.soft": [-0.1],
    "distill.feature": ["nan"],
    "distill.temperature": [0],
    "distill.label_smoothing": [1.0, -0.1],
    "distill.crossfit": [1],
    "feedback.every": [-1],
    "feedback.inner_learning_rate": [0],
    "feedback.teacher_learning_rate": [0],
    "feedback.hard": [-1],
    "feedback.quiz": [-1],
    "feedback.quiz_fraction": [0.0, 1.0],
    "feedback.quiz_batch_size": [-1, 1],
    "threshold": ["nan"],
}


def test_setting_has_a_sentence_each() -> None:
    assert [key for key, setting in SETTINGS.items() if not setting.about] == []


def test_setting_of_every_number_is_tried_with_bad_values() -> None:
    assert {key for key, setting in SETTINGS.items() if setting.kind in ("int", "float")} == set(BAD)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD.items() for value in values])
def test_setting_out_of_range_is_refused_in_one_sentence_that_names_it(key: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig().override([f"{key}={value}"])
    sentence = str(caught.value)
    assert key.rpartition(".")[2] in sentence
    assert "must be" in sentence
    assert "\n" not in sentence


def test_setting_that_is_mistyped_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean student\.epochs\?"):
        TrainConfig().override(["student.epoch=3"])
    with pytest.raises(ConfigError, match="did you mean softsign"):
        TrainConfig().override(["network.gate=sofsign"])
    with pytest.raises(ConfigError, match="did you mean paper"):
        load_preset("papr")


def test_setting_weights_of_the_distillation_may_not_all_be_zero() -> None:
    with pytest.raises(ConfigError, match="all 0"):
        TrainConfig().override(["distill.hard=0", "distill.soft=0", "distill.feature=0"])


def test_preset_settings_are_all_known() -> None:
    for name in preset_names():
        load_preset(name)
