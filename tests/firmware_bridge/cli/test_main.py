"""`ekd-firmware simulate`, `build` and `flash`."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import serial

from firmware_bridge.cli.main import main
from firmware_bridge.devices.csv.decoder import CsvDecoder
from firmware_bridge.devices.ekd.decoder import EkdDecoder
from firmware_bridge.devices.stream import RawBlock, StreamDecoder


def play(decoder: StreamDecoder, *arguments: str | Path) -> list[RawBlock]:
    """Run the simulated device and decode all bytes from its port."""
    command = [sys.executable, "-m", "firmware_bridge.cli.main", "simulate", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        path = process.stdout.readline().strip()
        blocks: list[RawBlock] = []
        with serial.Serial(path, 115200, timeout=1, exclusive=True) as port:
            while True:
                try:
                    data = port.read(max(1, port.in_waiting))
                except OSError:
                    break
                blocks += decoder.feed(data)
        assert process.wait(300) == 0
    return blocks + decoder.finish()


@pytest.fixture
def waveform(tmp_path: Path) -> Path:
    path = tmp_path / "recording.csv"
    path.write_text(
        "# rate_hz: 128\n# unit: adc\n# adc_bits: 12\nmillis,adc\n"
        + "".join(f"{i * 1000 // 128},{i % 4096}\n" for i in range(6000))
    )
    return path


def test_simulate_sends_counts_in_frames(waveform: Path, tmp_path: Path) -> None:
    link = tmp_path / "port"
    blocks = play(EkdDecoder(), "--waveform", waveform, "--speed", "0", "--link", link)
    assert np.array_equal(np.concatenate([b.values for b in blocks]), np.arange(6000) % 4096)
    assert blocks[0].hello is not None
    assert blocks[0].hello.adc_bits == 12
    assert blocks[0].hello.calibration[0] == 25 / 4096
    assert not os.path.lexists(link)


def test_simulate_sends_csv_lines_with_millis(waveform: Path) -> None:
    blocks = play(CsvDecoder(), "--waveform", waveform, "--speed=0", "--format=csv", "--millis", "--seconds=20")
    assert np.array_equal(np.concatenate([b.values for b in blocks]), np.arange(20 * 128) % 4096)
    assert blocks[0].declared is not None
    assert blocks[0].declared.adc_bits == 12


def test_simulate_refuses_readings_beyond_the_resolution(waveform: Path) -> None:
    command = [sys.executable, "-m", "firmware_bridge.cli.main", "simulate", f"--waveform={waveform}", "--adc-bits=10"]
    with subprocess.Popen(
        [*command, "--speed=0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        with serial.Serial(process.stdout.readline().strip(), exclusive=True):
            assert process.wait(300) == 2
        assert "exceed 10 bits: correct its resolution or its unit" in process.stderr.read()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_simulate_removes_its_link_on_a_signal(number: int, status: int, waveform: Path, tmp_path: Path) -> None:
    link = tmp_path / "port"
    command = [sys.executable, "-m", "firmware_bridge.cli.main", "simulate", f"--waveform={waveform}", f"--link={link}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == str(link)
        process.send_signal(number)
        assert process.wait(300) == status
    assert not link.is_symlink()


def test_simulate_converts_microsiemens_to_counts(tmp_path: Path) -> None:
    path = tmp_path / "us.csv"
    path.write_text("gsr_us\n" + "".join(f"{2 + i / 1000:.4f}\n" for i in range(3000)))
    blocks = play(EkdDecoder(), "--waveform", path, "--rate=50", "--speed=20", "--paced=10")
    assert blocks[0].hello is not None
    gain, _ = blocks[0].hello.calibration
    values = np.concatenate([b.values for b in blocks]) * gain
    assert np.abs(values - (2 + np.arange(3000) / 1000)).max() <= gain / 2


@pytest.mark.parametrize(
    ("text", "arguments", "advice"),
    [
        ("1\n2\n3\n", [], "do not state the sampling rate"),
        ("1\n2\n3\n", ["--rate=10"], "does not state its unit"),
        ("adc\n1\n2\n3\n", ["--rate=10"], "does not state its resolution"),
        ("words\nonly\n", ["--rate=10"], "not a recording in CSV"),
        ("", ["--rate=10"], "not a recording in CSV"),
        (None, ["--rate=10"], "No such file or directory; check the path"),
    ],
)
def test_simulate_faults_are_one_sentence(
    text: str | None, arguments: list[str], advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recording.csv"
    if text is not None:
        path.write_text(text)
    assert main(["simulate", "--waveform", str(path), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert advice in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--rate=0"], ["--rate=x"], ["--speed=-1"], ["--adc-bits=17"]])
def test_usage_errors_exit_with_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["simulate", "--waveform", "x.csv", *arguments])
    assert caught.value.code == 2


def test_command_imports_no_heavy_package() -> None:
    code = "import sys, firmware_bridge.cli.main; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "firmware_bridge.cli.main" in loaded
    assert not {"numpy", "scipy", "serial", "torch", "ekd_edge"} & set(loaded)


def test_simulate_runs_the_firmware(waveform: Path, built: Callable[..., Path]) -> None:
    built("simulator")
    built("firmware")
    blocks = play(EkdDecoder(), "--firmware", "--waveform", waveform, "--speed=0")
    assert blocks[0].hello is not None
    assert blocks[0].hello.adc_bits == 13
    assert sum(len(block.values) for block in blocks) >= 6000


@pytest.mark.parametrize("arguments", [["--fault=reset@3"], ["--format=csv"], ["--paced=2"]])
def test_simulate_firmware_refuses_other_options(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--firmware", *arguments]) == 2
    assert "--firmware accepts only a waveform" in capsys.readouterr().err


def test_build_prints_the_path_of_the_hex_file(
    tmp_path: Path, built: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    built("firmware")
    assert main(["build", "--folder", str(tmp_path), "--set", "OPEN_COUNT=4010"]) == 0
    hexfile = Path(capsys.readouterr().out.strip())
    assert hexfile == tmp_path / "ekd.hex"
    first = hexfile.read_bytes()
    assert first.startswith(b":10")
    assert main(["build", "--folder", str(tmp_path), "--set", "OPEN_COUNT=4090"]) == 0
    assert hexfile.read_bytes() != first


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["build", "--set", "COLOUR=1"], "no setting COLOUR: it has OPEN_COUNT"),
        (["build", "--set", "OPEN_COUNT"], "--set KEY=VALUE"),
        (["build", "--set", "OPEN_COUNT=9000"], "must be a 13-bit count"),
        (["build", "--set", "OPEN_COUNT=4;rm"], "is not a number"),
        (["flash", "/dev/ttyNONE8"], "/dev/ttyNONE8 does not exist"),
    ],
)
def test_build_and_flash_faults_are_one_sentence(
    arguments: list[str],
    advice: str,
    tmp_path: Path,
    built: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    built("firmware")
    assert main([*arguments, "--folder", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert advice in err
    assert err.count("\n") == 1
