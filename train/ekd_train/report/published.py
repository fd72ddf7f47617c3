"""The figures of the EmotionKD paper, for comparison on the same datasets."""

from typing import Any

__all__ = ["published"]

SOURCE = "Liu, Jia and Wang: EmotionKD, ACM Multimedia 2023, doi:10.1145/3581783.3612277"

# The method of `ekd_train.methods` to which each row corresponds, if any.
METHODS = {"Student (GSR)": "kd-feedback", "Teacher (EEG + GSR)": "teacher"}
TITLES = {"Student (GSR)": "EmotionKD, distilled student (GSR)"}

# Accuracy and F1 in %, arousal then valence.
FIGURES = {
    "deap": {
        "Student (GSR)": ((55.06, 53.50), (69.18, 68.33)),
        "Teacher (EEG + GSR)": ((62.88, 60.23), (66.61, 66.54)),
        "Visual-to-EEG KD": ((54.90, 52.59), (68.66, 67.36)),
        "CRD": ((50.86, 50.74), (61.78, 56.10)),
        "DeepConvNet (GSR)": ((53.70, 50.95), (66.45, 61.15)),
    },
    "hci": {
        "Student (GSR)": ((56.86, 50.49), (59.56, 57.81)),
        "Teacher (EEG + GSR)": ((60.66, 58.32), (64.72, 64.27)),
        "Visual-to-EEG KD": ((47.26, 46.76), (55.33, 54.36)),
        "CRD": ((49.90, 46.51), (55.35, 54.29)),
        "DeepConvNet (GSR)": ((55.56, 41.55), (47.32, 45.66)),
    },
}


def published(dataset: str) -> dict[str, Any] | None:
    """Return the paper's table for "deap" or "hci" as fractions, JSON-ready; None for another dataset.

    The paper's student was distilled with adaptive feedback. "method" names the method of `ekd_train.methods` to which
    a row corresponds, or is null.
    """
    figures = FIGURES.get(dataset)
    if figures is None:
        return None
    return {
        "source": SOURCE,
        "rows": [
            {
                "title": TITLES.get(name, name),
                "method": METHODS.get(name),
                "targets": {
                    target: {"accuracy": round(accuracy / 100, 6), "macro_f1": round(f1 / 100, 6)}
                    for target, (accuracy, f1) in zip(("arousal", "valence"), scores, strict=True)
                },
            }
            for name, scores in figures.items()
        ],
    }
