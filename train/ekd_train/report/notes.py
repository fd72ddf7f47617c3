"""Warnings, verdicts and footnotes of a report."""

from collections.abc import Mapping
from typing import Any

from ekd_train.data.splits import LEAKY_WARNING
from ekd_train.report.comparisons import LARGER_CLASS, LEVEL

__all__ = ["marks", "notes", "notice", "p_value", "verdict"]

SYNTHETIC = "SYNTHETIC DATA: no person was measured."


def notice(leaky: bool, synthetic: bool, done: int, expected: int) -> str:
    """Return the first line of a report: its warnings, or ""."""
    sentences = [LEAKY_WARNING] if leaky else []
    sentences += [f"INCOMPLETE: {done} of {expected} results."] if done < expected else []
    sentences += [SYNTHETIC] if synthetic else []
    return " ".join(sentences)


def marks(report: Mapping[str, Any]) -> str:
    """Return the warnings in short form for headings and plot titles: " [LEAKY SPLIT] [SYNTHETIC data]"."""
    progress = report["progress"]
    incomplete = f" [INCOMPLETE: {progress['done']} of {progress['expected']}]"
    return (
        (" [LEAKY SPLIT: same people in training and test]" if report["leaky"] else "")
        + ("" if report["complete"] else incomplete)
        + (" [SYNTHETIC data]" if report["synthetic"] else "")
    )


def verdict(comparison: Mapping[str, Any]) -> str:
    """Return the conclusion about the method of a comparison."""
    if comparison["t_p_holm"] is None:
        return "cannot be tested"
    if not comparison["shown"]:
        return "no difference could be shown"
    doubt = comparison["wilcoxon_p_holm"] is None or comparison["wilcoxon_p_holm"] >= LEVEL
    return ("better" if comparison["mean"] > 0 else "worse") + (", though not by signed ranks" if doubt else "")


def p_value(value: float | None, name: str = "") -> str:
    """0.0123 -> "0.012", with a name "p = 0.012"; a dash for None."""
    if value is None:
        return "–"
    if value < 0.001:
        return f"{name} < 0.001".strip()
    return f"{name} = {value:.3f}" if name else f"{value:.3f}"


def notes(report: Mapping[str, Any]) -> list[str]:
    """Return the footnotes of a report whose other keys are complete."""
    split, seeds = report["sweep"]["split"], len(report["sweep"]["seeds"])
    families = {
        c["family"]: sum(c["family"] == d["family"] for d in report["comparisons"]) for c in report["comparisons"]
    }
    sentences = [
        "Scores are computed for each subject and then averaged, so every subject has the same weight for any number "
        "of windows. F1 is the unweighted mean over the classes in a subject's labels or predictions.",
        f"mean ± sd: seeds ({seeds}) are averaged within a subject first; sd is over subjects. Intervals are 95 % "
        "Student t intervals over subjects: they describe people, not windows. The spread over seeds is stated "
        "separately.",
        "Comparisons are paired by subject, on the same windows and seeds. p (t) is from the two-sided paired t test, "
        "ranks the Holm-corrected p of Wilcoxon's signed-rank test. A difference is claimed only if the t test's p, "
        f"corrected by Holm, is below {LEVEL:g}. The corrections run over all targets and both scores: "
        f"{families.get('methods', 0)} comparisons between methods, and {families.get(LARGER_CLASS, 0)} with the "
        "larger class. The pairs are chosen by the methods' names and not by their figures. Seeds > 0 counts the seeds "
        "whose own mean difference is positive.",
        '"Could show" is half the width of the uncorrected interval: a smaller mean difference could not have been '
        "distinguished from zero with these subjects. A difference that is not shown may still exist.",
        "The larger class is the class of more test windows, with the same weight for every subject. Always "
        "predicting it needs no signal.",
    ]
    sentences.append(_dependence(split, report["leaky"]))
    few = [target["subjects"] for target in report["targets"].values() if 1 < target["subjects"] < 6]
    if few:
        sentences.append(
            f"With {min(few)} subjects the signed-rank test cannot go below p = {2 / 2 ** min(few):.3g} for any "
            "differences."
        )
    if not report["complete"]:
        sentences.append(
            "The sweep is incomplete: subjects, seeds or methods are missing from the means, and the finished ones "
            "need not be a random sample. Figures by seed are over the subjects that every seed has."
        )
    if report["published"]:
        sentences.append(
            f"Published: {report['published']['source']}. Its split, epochs and kind of F1 are not "
            "known, and it states no spread, so its figures are listed for orientation and are not tested."
        )
    return sentences


def _dependence(split: str, leaky: bool) -> str:
    if leaky:
        return (
            "With a trial-leaky split a network is trained on every test subject. The intervals over subjects do "
            "not predict the accuracy on a new person."
        )
    if split.startswith("leave-one-out"):
        return (
            "The networks of different folds share most of their training subjects, so subjects are not fully "
            "independent, and the intervals and p values are somewhat too confident."
        )
    return (
        "Subjects of one fold are tested with the same network, and the networks of different folds share "
        "training subjects: subjects are not fully independent, and intervals and p values are somewhat too confident."
    )
