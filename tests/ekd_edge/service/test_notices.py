import threading

from ekd_edge.service.notices import Notices
from ekd_edge.service.worker import Worker


def test_messages_are_shown_in_order_and_the_last_ones_at_the_end() -> None:
    shown: list[str] = []
    notices = Notices(shown.append)
    with Worker("messages", [notices], print) as worker:
        notices.on_message = worker.wake
        for number in range(50):
            notices(str(number))
    assert shown == [str(number) for number in range(50)]


def test_stream_that_blocks_delays_no_caller_and_drops_the_oldest() -> None:
    gate, shown = threading.Event(), list[str]()

    def show(message: str) -> None:
        gate.wait()
        shown.append(message)

    notices = Notices(show)
    with Worker("messages", [notices], print) as worker:
        notices.on_message = worker.wake
        for number in range(5000):
            notices(str(number))
        gate.set()
    assert shown[-1000:] == [str(number) for number in range(4000, 5000)]
    assert len(shown) <= 1001


def test_message_that_cannot_be_shown_is_counted_and_the_next_is_shown() -> None:
    shown: list[str] = []

    def show(message: str) -> None:
        if message == "bad":
            raise ValueError(message)
        shown.append(message)

    notices = Notices(show)
    with Worker("messages", [notices], lambda _sentence: None) as worker:
        notices("bad")
        notices("good")
        worker.wake()
    assert worker.faults["messages"].count == 1
    assert shown == ["good"]
