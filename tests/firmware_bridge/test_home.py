"""The user's home folder in paths that a shell leaves as they are."""

import argparse
from pathlib import Path

import pytest

from firmware_bridge.cli.arguments import path_argument
from firmware_bridge.cli.port_options import parse_file, parse_port
from firmware_bridge.errors import ConfigError
from firmware_bridge.home import expanded


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_home_folder_is_expanded_at_the_start_only(home: Path) -> None:
    assert expanded("~/a") == f"{home}/a"
    assert expanded("~") == str(home)
    assert expanded("b/~/a") == "b/~/a"
    assert path_argument("~/a") == home / "a"
    assert parse_port("~/a,format=csv").url == f"{home}/a"
    (home / "a,b").touch()
    assert parse_file("~/a,b", []).url == f"{home}/a,b"


def test_existing_file_with_a_tilde_in_its_name_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    (home / "~draft.csv").touch()
    assert path_argument("~draft.csv") == Path("~draft.csv")


def test_home_folder_of_an_unknown_user_is_refused(home: Path) -> None:
    with pytest.raises(ConfigError, match="write the whole path"):
        expanded("~no-such-user-of-this-machine/x")
    with pytest.raises(argparse.ArgumentTypeError, match="write the whole path"):
        path_argument("~no-such-user-of-this-machine/x")
