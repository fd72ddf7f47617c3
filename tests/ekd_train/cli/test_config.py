"""`ekd-train config`."""

import json

import pytest

from ekd_train.cli.main import main
from ekd_train.config import TrainConfig, load_preset
from ekd_train.settings.field import settings_of_class


def test_config_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    text = capsys.readouterr().out
    for setting in settings_of_class(TrainConfig):
        assert f"{setting.key} " in text
        assert setting.about in text


def test_config_shows_the_values_of_a_preset_and_of_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--preset", "edge", "--set", "student.epochs=7", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["student.epochs"] == {
        "type": "int",
        "default": 30,
        "value": 7,
        "about": table["student.epochs"]["about"],
    }
    assert table["teacher.learning_rate"]["value"] == load_preset("edge").teacher.learning_rate
    assert table["network.student"]["type"] == "paper|compact|edge"


def test_help_names_presets_and_methods(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in ((["--help"], ["paper-16hz"]), (["sweep", "--help"], ["kd-feedback", "paper-16hz"])):
        with pytest.raises(SystemExit):
            main(arguments)
        text = capsys.readouterr().out
        assert all(word in text for word in words)
