"""The JSON report of an export."""

from dataclasses import replace

from ekd_export.candidate import Candidate
from ekd_export.evaluation.latency import Latency
from ekd_export.evaluation.signoff import judge
from ekd_export.inputs import read_inputs
from ekd_export.quantization.audit import audit
from ekd_export.report.build import build_report
from ekd_train.run import Run


def test_subjects_without_windows_are_not_counted(run: Run, exports) -> None:
    inputs = read_inputs(run, lambda message: None)
    left_out, *kept = inputs.test.subjects
    inputs = replace(inputs, test=inputs.test.of_subjects(tuple(kept)))
    candidate = Candidate(exports.float32, audit(exports.float32.flatbuffer, "float32"), exports.float32.flatbuffer)
    logits = candidate.predict(inputs.test.gsr)
    verdict = judge(inputs.test.targets, inputs.test.labels, inputs.test.subject, logits, logits, None)
    report = build_report(inputs, candidate, {}, verdict, Latency(0.1, None, 1, 1, 1, "a machine"))
    assert left_out in run.subject_split.test
    assert report["subjects"]["test"] == len(kept) == len(report["verdict"]["targets"][0]["subjects"])
    assert report["subjects"]["training"] == len(run.subject_split.train)
