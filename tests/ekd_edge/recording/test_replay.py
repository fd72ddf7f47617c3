"""Replay prints the same lines as a direct computation, line by line and window by window."""

import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.cli.main import main
from ekd_edge.model.file import load_model_file
from ekd_edge.model.interpreter import open_classifier, softmax
from ekd_edge.pipeline import stream
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_edge.signal.quality import assess_all
from ekd_edge.signal.sample_quality import SampleQuality
from ekd_edge.sources import sensor

RATE = 32
LATENCY = re.compile(r'(?<="latency_ms": )[^}]+')


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """Two minutes of signal, then electrodes off; the second half has other numbers of digits than the first."""
    walk = 5 + np.cumsum(np.random.default_rng(1).normal(scale=0.02, size=120 * RATE))
    walk[100 * RATE :] = 0.0
    half = len(walk) // 2
    return [f"{value:.4f}" for value in walk[:half]] + [f"{value:.9g}" for value in walk[half:]]


def printed_plainly(lines: list[str], model_path: Path) -> str:
    """Predict each line and each window separately."""
    model_file = load_model_file(model_path)
    classifier, preprocessor = open_classifier(model_file), Preprocessor(model_file.manifest.signal)
    text = ""
    block = SampleBlock(np.array([float(line) for line in lines]), 0, Fraction(RATE))
    batch, sample_quality = preprocessor.push_batch(block), SampleQuality(model_file.manifest.signal)
    sample_quality.push(block)
    for window, bad_fractions in zip(batch, sample_quality.bad_fractions(batch), strict=True):
        (quality,) = assess_all(window.raw[None], model_file.manifest.signal, bad_fractions[None])
        targets: dict[str, object] = {}
        for target, row in zip(model_file.manifest.targets, classifier.predict(window.values[None])[0], strict=True):
            chances = softmax(row.tolist())
            label = target.labels[chances.index(max(chances))] if quality.acceptable else None
            targets[target.name] = {"probabilities": [round(p, 6) for p in chances], "label": label}
        found = {
            "version": 1,
            "first_index": window.first_index,
            "segment": window.segment,
            "time": round(window.end_s, 6),
            "utc": None,
            "targets": targets,
            "quality": round(quality.score, 3),
            "reason": quality.reason,
            "latency_ms": 0,
        }
        text += json.dumps(found) + "\n"
    return text


@pytest.mark.parametrize("windows", [1, 7, 64])
@pytest.mark.parametrize("chunk_bytes", [50, 1000, 1 << 20])
def test_replay_output_does_not_depend_on_chunks_and_batches(
    lines: list[str],
    model_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    chunk_bytes: int,
    windows: int,
) -> None:
    (tmp_path / "r.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(sensor, "_CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(stream, "_WINDOWS_PER_CALL", windows)
    source = ["--replay", str(tmp_path / "r.csv"), "--format", "csv", "--rate", str(RATE), "--unit", "uS"]
    assert main([*source, "--model", str(model_path), "--json"]) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) > 100
    assert '"label": null' in printed
    assert LATENCY.sub("0", printed) == printed_plainly(lines, model_path)
