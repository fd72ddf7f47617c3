"""`ekd-firmware monitor` with JSON lines, with text lines and in a terminal."""

import json
import os
import pty
import subprocess
import sys

import pytest

from firmware_bridge.cli.main import main

MONITOR = [sys.executable, "-m", "firmware_bridge.cli.main", "monitor"]


def test_monitor_prints_one_json_line_per_second() -> None:
    done = subprocess.run([*MONITOR, "sim://?seed=2", "--json", "--seconds", "8.5"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert 8 <= len(lines) <= 11
    last = lines[-1]
    assert (last["format"], last["device"], last["stated_hz"]) == ("ekd", "ekd-sim", 128.0)
    assert abs(last["ppm"]) < max(2000, 3 * last["ppm_error"])
    assert last["rate_hz"] == pytest.approx(128, rel=0.01)
    assert (last["dropped"], last["rejected"], last["overruns"], last["lead_off"]) == (0, 0, 0, False)
    assert 0.05 < last["level_us"] < 50
    assert lines[0]["ppm"] is None


def test_monitor_redraws_the_trace_in_a_terminal() -> None:
    master, slave = pty.openpty()
    command = [*MONITOR, "sim://?format=bitalino", "--seconds", "4"]
    with subprocess.Popen(command, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(slave)
        shown = b""
        try:
            while chunk := os.read(master, 4096):
                shown += chunk
        except OSError:
            pass
    os.close(master)
    assert process.returncode == 0
    text = shown.decode()
    assert text.count("\x1b[2A\x1b[J") >= 5
    assert "bitalino  100 Hz  0 dropped, 0 rejected" in text
    assert any(bar in text for bar in "▁▂▃▄▅▆▇█")


def test_monitor_prints_text_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", "sim://?format=grove&speed=4&seconds=20", "--format", "grove"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert len(out) >= 4
    assert all(line.startswith("grove  ") and " uS (raw " in line for line in out)


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["/dev/ttyNONE6"], "/dev/ttyNONE6 does not exist"),
        (["sim://?format=nothing"], "unknown format 'nothing'"),
        (["sim://", "--format", "ekd:x=1"], "no setting 'x'"),
        (["sim://?format=csv", "--format", "ekd", "--seconds", "1"], "no readable data came"),
        (["loop://", "--seconds", "0.5"], "no readable data came"),
    ],
)
def test_monitor_faults_are_one_sentence(arguments: list[str], advice: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert advice in captured.err
    assert captured.err.count("\n") == 1
