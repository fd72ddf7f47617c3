import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ekd_edge.errors import DataError
from ekd_edge.model.file import ModelFile, save_model_file
from ekd_edge.model.manifest import Target
from ekd_export.cli.evaluate import main
from ekd_export.evaluation.held_out import evaluate, unseen_subjects
from ekd_train.data.source import open_dataset
from tests.ekd_export.conftest import SPLIT

WITHOUT_TORCH = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, NoTorch())
from ekd_export.cli.evaluate import main
status = main(sys.argv[1:])
assert not {"matplotlib", "rich", "litert_torch", "ai_edge_quantizer"} & set(sys.modules)
sys.exit(status)
"""


def test_only_unseen_subjects_are_evaluated(exports) -> None:
    report = evaluate([exports.float32.path, exports.int8.path])
    assert report.subjects == SPLIT.test
    assert report.excluded == ("s000", "s001", "s002")
    assert {each.subject for each in report.scores[0].targets[0].subjects} == set(report.subjects)


def test_evaluation_repeats_the_figures_of_the_export(exports) -> None:
    report = evaluate([exports.float32.path, exports.int8.path])
    evaluation = exports.int8.manifest.evaluation
    assert evaluation is not None
    arousal, valence = evaluation["verdict"]["targets"]
    assert report.scores[1].to_json()["arousal"]["accuracy"] == pytest.approx(arousal["accuracy_after"])
    change = valence["accuracy"]
    assert report.comparisons[0][1].accuracy.mean == pytest.approx(change["mean"], abs=0.03)


def test_subjects_of_other_data_are_all_unseen(exports) -> None:
    other = open_dataset("synthetic?subjects=3&trials=4&seed=6")
    assert unseen_subjects([exports.int8.manifest], other) == (other.subjects, ())


def test_demo_names_the_shipped_model() -> None:
    report = evaluate("demo", "synthetic?subjects=3&trials=4&trial_s=60&seed=99")
    assert report.synthetic
    assert len(report.subjects) == 3


def test_data_without_unseen_subjects_is_refused(exports) -> None:
    same = open_dataset("synthetic?subjects=3&trials=4&trial_s=60&seed=5")
    assert same.identity == exports.int8.manifest.training.dataset
    with pytest.raises(DataError, match=r"every subject.*--data"):
        unseen_subjects([exports.int8.manifest], same)


def test_json_has_scores_and_comparisons(exports, capfd) -> None:
    assert main([str(exports.float32.path), str(exports.int8.path), "--json"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    result = json.loads(out)
    assert result["synthetic"] is True
    assert [model["kind"] for model in result["models"]] == ["float32", "int8"]
    assert result["models"][0]["targets"]["arousal"]["subjects"][0]["subject"] == "s003"
    (comparison,) = result["comparisons"]
    accuracy = comparison["targets"]["arousal"]["accuracy"]
    assert accuracy["low"] <= accuracy["mean"] <= accuracy["high"]
    assert "Student t" in comparison["interval"]


def test_text_has_a_table_with_intervals(exports, capsys) -> None:
    assert main([str(exports.float32.path), str(exports.int8.path)]) == 0
    out = capsys.readouterr().out
    assert "7 unseen subjects; 3 left out" in out
    assert "left out for signal quality: 0 of " in out
    assert "95% interval" in out
    assert out.count("[synthetic data]") >= 5
    assert "agreement" in out
    assert "always the larger class" in out


def test_single_file_has_no_comparison(exports, capsys) -> None:
    assert main([str(exports.int8.path)]) == 0
    assert "against" not in capsys.readouterr().out


def _variant(model_file: ModelFile, folder, **changes) -> str:
    path = folder / f"variant-{len(list(folder.iterdir()))}.tflite"
    save_model_file(path, model_file.flatbuffer, replace(model_file.manifest, **changes))
    return str(path)


def test_windows_other_than_those_of_the_export_are_remarked_on(exports, tmp_path, capsys) -> None:
    manifest = exports.int8.manifest
    training = replace(manifest.training, normalization_state="restarted")
    quality = {**manifest.evaluation["signal_quality"], "keep_bad_windows": True}
    path = _variant(
        exports.int8, tmp_path, training=training, evaluation={**manifest.evaluation, "signal_quality": quality}
    )
    assert main([path]) == 0
    out = capsys.readouterr().out
    assert f"note: {path} was trained on trials that each restart the running mean" in out
    assert f"note: {path} was exported with windows of bad signal quality" in out
    assert len(evaluate(path).to_json()["remarks"]) == 2
    assert evaluate(exports.int8.path).remarks == ()


def test_files_that_do_not_fit_together_are_refused(exports, tmp_path, capsys) -> None:
    manifest = exports.float32.manifest
    for changes, complaint in (
        ({"signal": replace(manifest.signal, hop_samples=7)}, "different signal specifications"),
        ({"targets": tuple(Target(each.name, ("no", "yes")) for each in manifest.targets)}, "different targets"),
        ({"training": replace(manifest.training, threshold=6.0)}, "different rules for a high rating"),
        ({"training": replace(manifest.training, high="above")}, "different rules for a high rating"),
    ):
        assert main([str(exports.float32.path), _variant(exports.float32, tmp_path, **changes)]) == 2
        assert complaint in capsys.readouterr().err


def test_ratings_at_the_threshold_are_labeled_as_in_training(exports, tmp_path) -> None:
    source, manifest = open_dataset(exports.run.source), exports.float32.manifest
    rated = source.windows(manifest.signal, None, exports.run.network.targets, subjects=SPLIT.test)
    threshold = float(rated.ratings.max(axis=0).min())  # the highest rating of one of the targets
    files = {
        high: _variant(exports.float32, tmp_path, training=replace(manifest.training, threshold=threshold, high=high))
        for high in ("at-or-above", "above")
    }
    assert evaluate([Path(files["at-or-above"])]).windows == len(rated)
    with pytest.raises(DataError, match=rf"are at or below {threshold:g}, so there is only one class"):
        evaluate([Path(files["above"])])


def test_data_that_does_not_fit_is_one_sentence(exports, tmp_path, capsys) -> None:
    for data in ("nonsense", f"recordings:{tmp_path}"):
        assert main([str(exports.int8.path), "--data", data]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_evaluation_runs_without_torch(exports) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, str(exports.int8.path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["windows"] > 50
    assert done.stderr == ""
