from ekd_train.report.methods import comparison_pairs, ordered, short_title, title


def test_titles_and_order() -> None:
    assert title("kd-joint") == "KD, teacher trained further (task loss only)"
    assert short_title("teacher") == "Teacher"
    assert title("mixup") == "mixup"
    assert ordered(["mixup", "kd", "student", "teacher", "cutout"]) == ("teacher", "student", "kd", "mixup", "cutout")


def test_known_methods_answer_the_known_questions() -> None:
    assert comparison_pairs(["kd-feedback", "student", "kd", "teacher"]) == (
        ("kd", "student"),
        ("kd-feedback", "student"),
        ("kd-feedback", "kd"),
        ("teacher", "student"),
    )


def test_every_method_is_compared_with_something() -> None:
    assert ("mixup", "student") in comparison_pairs(["student", "kd", "mixup"])
    assert comparison_pairs(["kd", "mixup"]) == (("mixup", "kd"),)
    assert comparison_pairs(["teacher", "kd", "kd-joint"]) == (("kd-joint", "kd"), ("teacher", "kd"))
    assert comparison_pairs(["teacher"]) == ()
    assert comparison_pairs(["student"]) == ()
    assert comparison_pairs([]) == ()
