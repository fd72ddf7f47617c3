"""`ekd-train sweep` with a stand-in for training."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

import ekd_train.sweeps.api
from ekd_train.cli.main import main
from ekd_train.data.splits import LEAKY_WARNING
from tests.helpers.exit_status import exit_status

from .conftest import WORK, Bench

Sweep = Callable[..., int]


@pytest.fixture
def sweep(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sweep:
    monkeypatch.setattr(ekd_train.sweeps.api, "WORK", WORK)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main(["sweep", "--device", "cpu", *map(str, arguments)])


BEGIN = ("--data", "synthetic?subjects=4", "--split", "k-fold:2", "--methods", "student,kd")


def test_sweep_command_prints_its_report(sweep: Sweep, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(*BEGIN, "--target", "arousal", "--target", "valence", "--out", bench.folder) == 0
    output = capsys.readouterr()
    assert str(bench.folder) in output.out
    assert "synthetic data: 2 folds (k-fold:2) x arousal, valence x seed 0 x student, kd = 8 results" in output.err
    assert output.err.count("synthetic?subjects=4: 2 recordings have no ratings (left out)\n") == 1
    assert len(bench.results()) == 8
    assert (bench.folder / "report.json").is_file()


def test_json_is_the_only_output_on_stdout(sweep: Sweep, bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    bench.order(fold01="refuse")
    assert sweep(*BEGIN, "--json", "--out", bench.folder) == 1
    out, err = capfd.readouterr()
    result = json.loads(out)
    assert result.pop("seconds") > 0
    assert result == {
        "sweep": str(bench.folder),
        "planned": 4,
        "finished": 2,
        "failed": {"arousal-seed0-fold01": "the recording of s001 is empty: leave it out"},
        "report": str(bench.folder / "report.json"),
    }
    assert f"run the failed cells again with ekd-train sweep --resume {bench.folder}" in err
    assert "Traceback" not in err


def test_leaky_sweep_prints_its_warning_first(sweep: Sweep, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    leaky = (*BEGIN, "--split", "trial-leaky:2", "--out", bench.folder)
    assert sweep(*leaky) == 0
    out, err = capsys.readouterr()
    assert out.startswith(LEAKY_WARNING)
    assert err.splitlines()[0] == LEAKY_WARNING
    assert sweep(*leaky, "--json") == 0
    assert next(iter(json.loads(capsys.readouterr().out).items())) == ("warning", LEAKY_WARNING)
    assert main(["report", str(bench.folder), "--json"]) == 0
    assert next(iter(json.loads(capsys.readouterr().out).values())).startswith(LEAKY_WARNING)


def test_sweep_without_output_gets_a_new_folder(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep("--data", "synthetic?subjects=4", "--split", "holdout", "--json") == 0
    folder = Path(json.loads(capsys.readouterr().out)["sweep"])
    assert folder.parent == Path("runs")
    assert folder.name.endswith("-sweep-smoke")
    assert len(list((tmp_path / folder).glob("cells/arousal-seed0-fold00/*.json"))) == 4


def test_repeated_sweep_computes_nothing_and_more_seeds_only_new_results(
    sweep: Sweep, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(*BEGIN, "--out", bench.folder) == 0
    before = bench.computed()
    for again in ((*BEGIN, "--out", bench.folder), ("--out", bench.folder), ("--resume", bench.folder)):
        assert sweep(*again) == 0
        assert "4 of 4 results are finished already" in capsys.readouterr().err
    assert bench.computed() == before
    assert sweep("--out", bench.folder, "--seeds", 2) == 0
    assert {row["cell"] for row in bench.computed()[len(before) :]} == {f"arousal-seed1-fold0{fold}" for fold in (0, 1)}
    assert sweep("--out", bench.folder, "--methods", "teacher") == 0
    assert {row["method"] for row in bench.computed()[-12:]} == {"teacher"}
    assert len(bench.results()) == 2 * 2 * 3
    assert sweep("--resume", bench.folder) == 0
    assert "12 of 12 results are finished already" in capsys.readouterr().err


def test_another_sweep_in_the_same_folder_is_refused(
    sweep: Sweep, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(*BEGIN, "--out", bench.folder) == 0
    plan = (bench.folder / "sweep.json").read_bytes()
    for changes, message in [
        (("--set", "student.epochs=3"), "student.epochs is 5 there and 3 here"),
        (("--split", "holdout"), "split is 'k-fold:2' there and 'holdout' here"),
        (("--data", "synthetic?subjects=5"), "data is 'synthetic?subjects=4' there"),
        (("--preset", "paper", "--data", "synthetic?subjects=4"), "signal.rate_hz is '16' there and '128' here"),
        (("--target", "valence"), "targets is ('arousal',) there"),
    ]:
        capsys.readouterr()
        assert sweep("--out", bench.folder, *changes) == 2
        assert message in capsys.readouterr().err
    assert (bench.folder / "sweep.json").read_bytes() == plan


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume", "nowhere"], "nowhere is not a sweep"),
        (["--resume", "nowhere", "--seeds", "3"], "leave --seeds out"),
        (["--workers", "0"], "--workers: '0' must be a whole number above zero"),
        (["--threads", "0"], "--threads: '0' must be a whole number above zero"),
        (["--seeds", "0"], "--seeds: '0' must be a whole number above zero"),
        (["--methods", "student,magic"], "no method 'magic'"),
        (["--methods", ""], "no method ''"),
        (["--split", "loso"], "--split loso: write holdout"),
        (["--set", "split.kind=k-fold"], "--split k-fold:5"),
        (["--target", "boredom"], "no ratings of 'boredom'"),
        (["--data", "nonsense"], "unknown data"),
        (["--preset", "papr"], "no preset"),
        (["--set", "nonsense=1"], "no setting"),
        (["--device", "cuda:99"], "cannot be used"),
        (["--ray", "nonsense"], "write HOST:PORT"),
        (["--ray", "ray://head:10001"], "--ray auto"),
        (["--ray", "127.0.0.1:9"], "no Ray cluster responds at 127.0.0.1:9"),
        (["--ray", "127.0.0.1:99999"], "no Ray cluster responds at 127.0.0.1:99999"),
    ],
)
def test_bad_input_ends_in_one_sentence(
    arguments: list[str], message: str, sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(lambda given: sweep(*given), arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("ekd-train sweep: ")
    assert message in error


def test_missing_ray_is_reported_with_its_install_command(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec = PathFinder.find_spec
    monkeypatch.setattr(PathFinder, "find_spec", lambda name, *more: None if name == "ray" else find_spec(name, *more))
    assert sweep("--ray", "auto") == 2
    stderr = capsys.readouterr().err
    assert "--ray needs ray, which is not installed: run `pip install" in stderr
    assert "[cluster]" in stderr


def test_driver_loads_no_training_framework() -> None:
    program = (
        "import sys, ekd_train.sweeps.run, ekd_train.sweeps.local, ekd_train.sweeps.ray_cluster; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"torch", "ray", "matplotlib"} & set(done.stdout.split())
