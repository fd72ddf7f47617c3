"""What a report's figures allow to say, and what a reader must know of them."""

from collections.abc import Mapping
from typing import Any

from ekd_train.data.splits import LEAKY_WARNING
from ekd_train.report.comparisons import LARGER_CLASS, LEVEL

__all__ = ["marks", "notes", "notice", "p_value", "verdict"]

SYNTHETIC = "SYNTHETIC DATA: nobody was measured."


def notice(leaky: bool, synthetic: bool, done: int, expected: int) -> str:
    """The first line of everything; "" where there is nothing to warn of."""
    said = [LEAKY_WARNING] if leaky else []
    said += [f"INCOMPLETE: {done} of {expected} results."] if done < expected else []
    said += [SYNTHETIC] if synthetic else []
    return " ".join(said)


def marks(report: Mapping[str, Any]) -> str:
    """The same for a heading or the title of a plot, short: " [LEAKY SPLIT] [synthetic data]"."""
    progress = report["progress"]
    incomplete = f" [INCOMPLETE: {progress['done']} of {progress['expected']}]"
    return (
        (" [LEAKY SPLIT: same people in training and test]" if report["leaky"] else "")
        + ("" if report["complete"] else incomplete)
        + (" [SYNTHETIC data]" if report["synthetic"] else "")
    )


def verdict(comparison: Mapping[str, Any]) -> str:
    """What a comparison allows to say of its method."""
    if comparison["t_p_holm"] is None:
        return "cannot be tested"
    if not comparison["shown"]:
        return "no difference could be shown"
    doubt = comparison["wilcoxon_p_holm"] is None or comparison["wilcoxon_p_holm"] >= LEVEL
    return ("better" if comparison["mean"] > 0 else "worse") + (", though not by signed ranks" if doubt else "")


def p_value(value: float | None, name: str = "") -> str:
    """0.0123 -> "0.012", with a name "p = 0.012"; a dash where there is none."""
    if value is None:
        return "–"
    if value < 0.001:
        return f"{name} < 0.001".strip()
    return f"{name} = {value:.3f}" if name else f"{value:.3f}"


def notes(report: Mapping[str, Any]) -> list[str]:
    """The footnotes of a report that is built up to them."""
    split, seeds = report["sweep"]["split"], len(report["sweep"]["seeds"])
    families = {
        c["family"]: sum(c["family"] == d["family"] for d in report["comparisons"]) for c in report["comparisons"]
    }
    said = [
        "Scores are computed for each subject and then averaged, so every subject weighs the same however many windows "
        "it has. F1 is the unweighted mean over the classes that a subject's labels or predictions hold.",
        f"mean ± sd: seeds ({seeds}) are averaged within a subject first; sd is over subjects. Intervals are 95 % "
        "Student t intervals over subjects: they speak of people, not of windows. The spread over seeds stands apart.",
        "Comparisons are paired by subject, on the same windows and seeds. p (t) is from the two-sided paired t test, "
        "ranks the Holm-corrected p of Wilcoxon's signed-rank test. A difference is claimed only where the t test's p, "
        f"corrected by Holm, lies below {LEVEL:g}. The corrections run over all targets and both scores: "
        f"{families.get('methods', 0)} comparisons between methods, and {families.get(LARGER_CLASS, 0)} with the "
        "larger class. The methods' names alone decide which pairs are compared. Seeds > 0 counts the seeds whose own "
        "mean difference is positive.",
        '"Could show" is half the width of the uncorrected interval: a smaller mean difference could not have been '
        "told from zero with these subjects. No difference shown does not mean that there is none.",
        "The larger class is the one that more test windows have, every subject weighing the same; always answering it "
        "needs no signal at all.",
    ]
    said.append(_dependence(split, report["leaky"]))
    few = [target["subjects"] for target in report["targets"].values() if 1 < target["subjects"] < 6]
    if few:
        said.append(
            f"With {min(few)} subjects the signed-rank test cannot go below p = {2 / 2 ** min(few):.3g}, whatever the "
            "differences."
        )
    if not report["complete"]:
        said.append(
            "The sweep is incomplete: subjects, seeds or methods are missing from the means, and which came first need "
            "not be chance. Figures seed by seed are over the subjects that every seed has."
        )
    if report["published"]:
        said.append(
            f"Published: {report['published']['source']}. Its split, its epochs and the kind of its F1 are not known "
            "here, and it gives no spread: its figures stand beside ours for orientation, not as a test."
        )
    return said


def _dependence(split: str, leaky: bool) -> str:
    if leaky:
        return (
            "With a trial-leaky split a network meets every test subject in training. The intervals over subjects do "
            "not tell how it does on a person whom it has not met."
        )
    if split.startswith("leave-one-out"):
        return (
            "The networks of different folds share most of their training subjects, so subjects are not quite "
            "independent, and the intervals and p values are somewhat too confident."
        )
    return (
        "Subjects of one fold are tested with one and the same network, and the networks of different folds share "
        "training subjects: subjects are not quite independent, and intervals and p values are somewhat too confident."
    )
