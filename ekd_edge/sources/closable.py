"""The context manager that all sources share."""

from types import TracebackType
from typing import Self

__all__ = ["Closable"]


class Closable:
    """A context manager that calls `close` at its end; without a `close` of its own there is nothing to release."""

    def close(self) -> None:
        """Release what is open; a second call has no effect."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
