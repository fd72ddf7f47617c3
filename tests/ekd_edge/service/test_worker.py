import threading

from ekd_edge.service.worker import Worker


class Steps:
    """A job that fails for its first `faults` rounds, and records its rounds."""

    def __init__(self, name: str, faults: int = 0) -> None:
        self.name = name
        self.faults = faults
        self.rounds = 0
        self.finished = 0
        self.ran = threading.Event()

    def run(self) -> None:
        self.rounds += 1
        self.ran.set()
        if self.faults:
            self.faults -= 1
            raise RuntimeError("a defect")

    def finish(self) -> None:
        self.finished += 1


def test_job_fault_of_any_type_is_counted_and_ends_no_other_job() -> None:
    broken, sound = Steps("recording of a", faults=1), Steps("recording of b")
    heard: list[str] = []
    with Worker("disk", [broken, sound], heard.append) as worker:
        worker.wake()
        assert sound.ran.wait(10)
    assert worker.faults["recording of a"].count == 1
    assert worker.faults["recording of b"].count == 0
    assert heard[0] == "recording of a fails: RuntimeError: a defect; it is tried again every 5 s"
    assert (broken.finished, sound.finished) == (1, 1)


def test_job_that_recovers_clears_its_message() -> None:
    broken = Steps("recording of a", faults=1)
    heard: list[str] = []
    with Worker("disk", [broken], heard.append) as worker:
        worker.wake()
        assert broken.ran.wait(10)
    # `finish` succeeds after the failed round.
    assert worker.faults["recording of a"].message is None
    assert heard[-1] == "recording of a works again"


def test_notify_that_raises_does_not_end_the_worker() -> None:
    def closed(_message: str) -> None:
        raise BrokenPipeError

    broken = Steps("recording of a", faults=1)
    with Worker("disk", [broken], closed) as worker:
        worker.wake()
        assert broken.ran.wait(10)
    assert broken.finished == 1


def test_worker_that_was_never_started_closes() -> None:
    Worker("disk", [Steps("recording of a")], print).close()
