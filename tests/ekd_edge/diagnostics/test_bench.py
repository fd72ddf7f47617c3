"""`ekd-edge bench`: its measurements and reports, without any expectation of speed."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from ekd_edge.cli.bench import to_json, to_text
from ekd_edge.cli.main import main
from ekd_edge.diagnostics.bench import Bench, bench
from ekd_edge.diagnostics.machine import Condition, Throttling, emulator
from ekd_edge.diagnostics.pick import pick
from ekd_edge.errors import SignalError
from ekd_edge.model.file import load_model_file
from ekd_edge.model.manifest import SignOff
from ekd_edge.signal.design import gsr_spec

WriteModel = Callable[..., Path]
DYNAMIC: dict[str, Any] = {"kind": "dynamic", "recipe": "dynamic"}
on_a_board = pytest.mark.skipif(emulator() is not None, reason="nothing is picked on an emulated machine")


@pytest.fixture(scope="module")
def measured(write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Two models with different chains, with one and two threads."""
    folder = tmp_path_factory.mktemp("models")
    slower = gsr_spec(rate_hz=Fraction(16), window_s=4, hop_s=2)
    paths = write_model(folder / "a.tflite"), write_model(folder / "b.tflite", signal=slower, **DYNAMIC)
    return bench([load_model_file(path) for path in paths], (1, 2), windows=13)


def test_each_model_is_timed_with_each_number_of_threads(measured: Bench) -> None:
    assert [(each.model_file.path.name, each.threads) for each in measured.timings] == [
        ("a.tflite", 1),
        ("a.tflite", 2),
        ("b.tflite", 1),
        ("b.tflite", 2),
    ]
    for each in measured.timings:
        figures = each.p50_ms, each.paced_ms, each.inference_cpu_s, each.chain_cpu_s
        assert all(math.isfinite(figure) and figure > 0 for figure in figures)
        assert each.cpu_s == each.inference_cpu_s + each.chain_cpu_s
        assert (each.windows, each.p99_ms) == (13, None)
    assert measured.timings[0].chain_cpu_s == measured.timings[1].chain_cpu_s


def test_hundred_windows_have_a_99th_percentile(model_path: Path) -> None:
    shares: list[float] = []
    (timing,) = bench([load_model_file(model_path)], (1,), 100, shares.append).timings
    assert timing.p99_ms is not None
    assert timing.p99_ms >= timing.p50_ms
    assert shares == sorted(shares)
    assert (shares[-1], 0 < shares[0] < 0.5) == (1.0, True)


def test_model_of_another_signal_is_refused(write_model: WriteModel, tmp_path: Path) -> None:
    eeg = replace(gsr_spec(rate_hz=Fraction(16), window_s=4, hop_s=1), unit="uV")
    model_file = load_model_file(write_model(tmp_path / "eeg.tflite", signal=eeg))
    with pytest.raises(SignalError, match=r"eeg\.tflite was made for a signal in uV"):
        bench([model_file], (1,), 1)


def test_json_report_has_machine_and_timings(measured: Bench) -> None:
    report = json.loads(json.dumps(to_json(measured), allow_nan=False))
    assert report["meaningless"] == measured.meaningless
    assert report["machine"]["architecture"] == measured.machine.architecture
    assert report["synthetic_windows"] is True
    assert "picked" not in report
    first = report["timings"][0]
    assert (first["kind"], first["threads"], first["windows"], first["p99_ms"]) == ("float32", 1, 13, None)
    assert first["sha256"] == measured.timings[0].model_file.manifest.sha256
    total = first["inference_cpu_s_per_hour"] + first["chain_cpu_s_per_hour"]
    assert first["cpu_s_per_hour"] == pytest.approx(total)


def test_text_report_has_one_row_per_timing(measured: Bench) -> None:
    lines = to_text(replace(measured, machine=replace(measured.machine, emulated=None))).splitlines()
    assert tuple(lines[:2]) == measured.machine.lines
    heads = ["model", "kind", "threads", "p50 ms", "p99 ms", "paced ms", "CPU s/h", "size kB"]
    assert [head.strip() for head in lines[3].split("  ") if head] == heads
    assert [line.split()[1:3] for line in lines[4:8]] == [
        ["float32", "1"],
        ["float32", "2"],
        ["dynamic", "1"],
        ["dynamic", "2"],
    ]
    assert lines[4].split()[4] == "-"
    assert "synthetic data" in lines[9]


def test_emulated_machine_is_reported_first(measured: Bench) -> None:
    emulated = replace(measured, machine=replace(measured.machine, emulated="qemu-user: the kernel is of x86_64"))
    assert to_text(emulated).splitlines()[0] == (
        "These figures are meaningless: emulated by qemu-user: the kernel is of x86_64"
    )
    assert to_json(emulated)["meaningless"] == "emulated by qemu-user: the kernel is of x86_64"


def test_machine_condition_is_in_both_reports(measured: Bench) -> None:
    unknown = replace(measured, before=Condition(None, None, None), after=Condition(None, None, None), hottest_c=None)
    text = to_text(unknown)
    assert "temperature  not known before, not known after\n" in text
    assert "throttling   not known" in text
    hot = replace(
        measured,
        before=Condition(48.2, "ondemand", Throttling(0)),
        after=Condition(81.25, "ondemand", Throttling(0xE0008)),
        hottest_c=82.0,
        slowed_by=("soft temperature limit", "throttled"),
    )
    lines = to_text(hot).splitlines()
    assert lines[-4:] == [
        "temperature  48.2 °C before, 81.2 °C after, highest 82.0",
        "governor     ondemand",
        "throttling   now: soft temperature limit; since boot: frequency capped, throttled, soft temperature limit",
        "warning      the machine was slowed down during the measurement (soft temperature limit, throttled): cool it "
        "or use a stronger power supply, then measure again",
    ]
    assert to_json(hot)["after"]["throttling"]["now"] == ["soft temperature limit"]


def test_throttling_during_the_measurement_is_reported(model_path: Path, tmp_path: Path) -> None:
    vcgencmd = tmp_path / "usr/bin/vcgencmd"
    vcgencmd.parent.mkdir(parents=True)
    asked = tmp_path / "asked"
    vcgencmd.write_text(
        f"#!/bin/sh\nif [ -e {asked} ]; then echo throttled=0x50002; else echo throttled=0x10000; fi\n: > {asked}\n"
    )
    vcgencmd.chmod(0o755)
    found = bench([load_model_file(model_path)], (1,), 1, root=tmp_path)
    assert found.slowed_by == ("frequency capped", "throttled")
    assert (found.before.throttling, found.after.throttling) == (Throttling(0x10000), Throttling(0x50002))
    assert "slowed down during the measurement (frequency capped, throttled)" in to_text(found)
    assert bench([load_model_file(model_path)], (1,), 1, root=tmp_path / "none").slowed_by == ()


def test_picked_model_is_reported_with_the_command_to_run(measured: Bench) -> None:
    choice = pick(measured.timings)
    assert choice.picked is not None
    path, threads = choice.picked.model_file.path, choice.picked.threads
    text = to_text(measured, choice)
    assert text.endswith(f"next         ekd-edge --model {path} --threads {threads} --port auto")
    assert "b.tflite: never signed off" in text
    report = to_json(measured, choice)
    assert report["picked"] == {"file": str(path), "threads": threads}
    assert report["reasons"] == {str(measured.timings[2].model_file.path): "never signed off"}


def test_command_prints_json_or_text(model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(model_path), str(model_path), "--threads", "2,1", "--windows", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [each["threads"] for each in json.loads(out)["timings"]] == [1, 2]
    assert err == ""
    assert main(["bench", str(model_path), "--threads", "1", "--windows", "1"]) == 0
    assert str(model_path) in capsys.readouterr().out


@on_a_board
def test_pick_option_sets_report_and_exit_status(
    write_model: WriteModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = str(write_model(tmp_path / "good.tflite", signoff=SignOff(0.01, "passed"), **DYNAMIC))
    bad = str(write_model(tmp_path / "bad.tflite", signoff=SignOff(0.01, "undecided"), **DYNAMIC))
    briefly = ["--threads", "1", "--windows", "1", "--pick", "--json"]
    assert main(["bench", good, bad, *briefly, "--max-drop", "0.01"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["picked"] == {"file": good, "threads": 1}
    assert list(report["reasons"]) == [bad]
    assert main(["bench", bad, "--threads", "1", "--windows", "1"]) == 0
    assert f"{bad}: sign-off UNDECIDED for --max-drop 0.01" in capsys.readouterr().out
    assert main(["bench", bad, *briefly]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["picked"] is None
    assert err == (
        "ekd-edge bench: none of these models passed its sign-off: run `ekd-export --int8 --max-drop 0.01`, "
        "follow its advice, or name a float32 model as well\n"
    )
    assert main(["bench", good, *briefly, "--max-drop", "0.002"]) == 3
    assert "none of these models is shown to change by at most 0.002" in capsys.readouterr().err


def test_all_models_next_to_the_newest_are_measured_by_default(
    write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EKD_MODEL", raising=False)
    folder = tmp_path / "runs" / "new"
    folder.mkdir(parents=True)
    for name in ("a.tflite", "b.tflite"):
        write_model(folder / name)
    (folder / "cut.tflite").write_bytes(b"no model")
    assert main(["bench", "--threads", "1", "--windows", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert {each["file"] for each in json.loads(out)["timings"]} == {"runs/new/a.tflite", "runs/new/b.tflite"}
    assert "skipped: runs/new/cut.tflite" in err


def test_faults_are_one_sentence(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EKD_MODEL", raising=False)
    for arguments, words in (
        ([], "no model here"),
        (["missing.tflite"], "missing.tflite"),
        ([str(model_path), "--trust", "missing.pem"], "cannot read the trusted key"),
    ):
        assert main(["bench", *arguments]) == 2
        err = capsys.readouterr().err
        assert words in err
        assert err.count("\n") == 1


def test_unsigned_model_is_refused_with_trust(
    write_model: WriteModel, tmp_path: Path, signing_key: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_model(tmp_path / "a.tflite")
    briefly = [str(path), "--threads", "1", "--windows", "1", "--trust", str(signing_key.public_path)]
    assert main(["bench", *briefly]) == 2
    assert "is not signed" in capsys.readouterr().err
    signing_key.sign(path)
    assert main(["bench", *briefly]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--threads", "0"], "numbers from 1 to 4"),
        (["--threads", "1,5"], "numbers from 1 to 4"),
        (["--threads", ""], "numbers from 1 to 4"),
        (["--windows", "0"], "whole number above zero"),
        (["--windows", "100001"], "whole number from 1 to"),
        (["--max-drop", "1", "--pick"], "share from 0 to below 1"),
        (["--max-drop", "0", "--pick"], "above 0 and below 1"),
        (["--max-drop", "nan", "--pick"], "share from 0 to below 1"),
    ],
)
def test_impossible_arguments_are_refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *arguments])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_max_drop_without_pick_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--max-drop", "0.01"]) == 2
    assert capsys.readouterr().err == "ekd-edge bench: --max-drop limits what --pick may choose: add --pick\n"


def test_bench_loads_nothing_slow() -> None:
    slow = {"scipy", "ai_edge_litert", "tflite_runtime", "cryptography", "rich"}
    program = "import sys, ekd_edge.cli.bench; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not slow & set(done.stdout.split())
