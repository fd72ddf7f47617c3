from ekd_train.report.methods import ordered, questions, short_title, title


def test_titles_and_order() -> None:
    assert title("kd-joint") == "KD, teacher trained on (task loss alone)"
    assert short_title("teacher") == "Teacher"
    assert title("mixup") == "mixup"
    assert ordered(["mixup", "kd", "student", "teacher", "cutout"]) == ("teacher", "student", "kd", "mixup", "cutout")


def test_known_methods_answer_the_known_questions() -> None:
    assert questions(["kd-feedback", "student", "kd", "teacher"]) == (
        ("kd", "student"),
        ("kd-feedback", "student"),
        ("kd-feedback", "kd"),
        ("teacher", "student"),
    )


def test_every_method_is_compared_with_something() -> None:
    assert ("mixup", "student") in questions(["student", "kd", "mixup"])
    assert questions(["kd", "mixup"]) == (("mixup", "kd"),)
    assert questions(["teacher", "kd", "kd-joint"]) == (("kd-joint", "kd"), ("teacher", "kd"))
    assert questions(["teacher"]) == ()
    assert questions(["student"]) == ()
    assert questions([]) == ()
