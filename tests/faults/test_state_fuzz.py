"""Damaged and odd files of the state that ekd-edge keeps: status files and baselines; never a traceback or a wait."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ekd_edge.cli.main import main
from ekd_edge.errors import ConfigError
from ekd_edge.pipeline.baseline import _key, baseline_lookup
from ekd_edge.service.status_file import StatusFile
from ekd_edge.signal.design import gsr_spec
from tests.ekd_edge.service.test_status_file import model_input, port, status

_ROUNDS = 20_000 if os.environ.get("EKD_FAULTS") == "long" else 300
_ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        1 << 70,
        10**400,
        1e308,
        -1e308,
        math.nan,
        math.inf,
        "",
        "x",
        "\x1b[2J",
        "\ud800",
        [],
        {},
        [[]],
    ),
    {"a": {"b": []}},
    "9" * 5000,
)


def changed(value: Any, random: Random) -> Any:
    """A copy of a JSON value in which one part is missing, odd or of another kind."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        if random.random() < 0.2:
            return {name: each for name, each in value.items() if name != key}
        return {**value, key: changed(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.9:
        at = random.randrange(len(value))
        return [*value[:at], changed(value[at], random), *value[at + 1 :]]
    return random.choice(_ODD)


def texts(value: Any) -> Iterator[bytes]:
    """Damaged forms of a JSON file."""
    random = Random(7)
    for number in range(_ROUNDS):
        if number % 2:
            yield json.dumps(changed(value, random)).encode("utf-8", "surrogatepass")
            continue
        data = bytearray(json.dumps(value).encode())
        for _ in range(random.randrange(1, 4)):
            at = random.randrange(len(data))
            match random.randrange(3):
                case 0:
                    data[at] ^= 1 << random.randrange(8)
                case 1:
                    del data[at : at + random.randrange(1, 40)]
                case _:
                    data[at:at] = random.randbytes(random.randrange(1, 9))
        yield bytes(data)


def test_odd_status_files_end_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EKD_STATUS", str(tmp_path))
    own = StatusFile(tmp_path, lambda: status(port(input=model_input()), workers={}), print)
    own.run()
    path = tmp_path / f"edge-{os.getpid()}.json"
    good = json.loads(path.read_text())
    for text in texts(good):
        path.write_bytes(text)
        for arguments in (["status"], ["status", "--json"]):
            assert main(arguments) in (0, 1, 2)
            out, err = capsys.readouterr()
            assert "\x1b" not in out + err
        messages: list[str] = []
        other = StatusFile(tmp_path, status, messages.append)
        other._prepare()
        assert messages == []


def test_odd_baselines_are_one_sentence_or_finite_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EKD_BASELINES", str(tmp_path))
    spec = gsr_spec(128, 16, 1)
    one = {"mean": 1.5, "variance": 0.02, "seconds": 60.0, "level_us": 4.3, "taken": "2026-01-01T00:00:00+00:00"}
    path, key = tmp_path / "anna.json", _key("ekd 01", spec)
    sentences, found = [], 0
    for text in texts({"ekd_baselines": 1, "wearer": "anna", "baselines": {key: one}}):
        path.write_bytes(text)
        try:
            baseline = baseline_lookup("anna", spec, lambda message: None)("ekd 01")
        except ConfigError as error:
            sentences.append(str(error))
            continue
        if baseline is not None:
            found += 1
            assert all(map(math.isfinite, (baseline.mean, baseline.variance, baseline.seconds)))
            assert baseline.variance >= 0
    assert all("delete it and calibrate again" in sentence for sentence in sentences)
    assert len(sentences) > _ROUNDS / 3
    assert found > 0
