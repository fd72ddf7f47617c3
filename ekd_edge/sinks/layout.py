"""The layout of the view: one sensor as one line, several as a table; less important parts are left out first."""

from collections.abc import Sequence

from ekd_edge.sinks.pieces import Look, Piece, clock, cut, padded, width_of
from ekd_edge.sinks.sensor_view import COLUMNS, SensorView

__all__ = ["one_line", "table"]

_BAR_WIDTHS = (10, 5, 0)
_MIN_CURVE = 8


def one_line(sensor: SensorView, width: int, look: Look, mark: str, now_s: float) -> list[Piece]:
    """One sensor.

    Args:
        sensor: the only one.
        width: columns that the line may take.
        look: of the terminal.
        mark: the end of the line, which is always there, such as " [synthetic data]".
        now_s: the monotonic time.

    Returns:
        Pieces of at most `width` columns.
    """
    width -= len(mark)
    level = sensor.level(look)
    extras: list[Piece] = []
    body = sensor.notice(now_s, look)
    if (last := sensor.last) is not None and not sensor.waiting():
        signal = "" if last.withheld else _signal(sensor)
        extras = [(signal, "dim"), (f"  {clock(last.time_s)}", "dim"), (f"  {last.latency_ms:.1f} ms", "dim")]
        if not body:
            body = _widest_verdict([sensor], width - len(level[0]) - len(signal), look)[0]
    pieces = [level, *body]
    for extra in extras:
        if width_of(pieces) + len(extra[0]) <= width:
            pieces.append(extra)
    room = min(COLUMNS, width - width_of(pieces) - 2)
    if room >= _MIN_CURVE:
        pieces.insert(1, sensor.curve(room, look))
    return [*cut(pieces, width), (mark, "warn")] if mark else cut(pieces, width)


def table(
    sensors: Sequence[SensorView], size: tuple[int, int], look: Look, mark: str, now_s: float
) -> list[list[Piece]]:
    """Several sensors, one line each; where not all fit, those with problems come first.

    Args:
        sensors: in the order of the user.
        size: columns and lines that the table may take.
        look: of the terminal.
        mark: the end of the last line, such as " [synthetic data]".
        now_s: the monotonic time.

    Returns:
        At most that many lines, of at most that many columns.
    """
    width, height = size
    shown, hidden = list(sensors), 0
    if len(sensors) + bool(mark) > height:
        shown = sorted(sensors, key=lambda sensor: not sensor.problem(now_s))[: max(0, height - 1)]
        hidden = len(sensors) - len(shown)
    lines = _rows(shown, width, look, now_s) if shown else []
    if hidden or mark:
        problems = sum(sensor.problem(now_s) for sensor in sensors) - sum(sensor.problem(now_s) for sensor in shown)
        lines.append(_last_line(hidden, problems, width, mark))
    return lines


def _last_line(hidden: int, problems: int, width: int, mark: str) -> list[Piece]:
    text = f"{hidden} more" if hidden else ""
    if problems:
        text += f", {problems} of them with a problem"
    room = max(0, width - len(mark))
    mark = mark if text else mark.lstrip()
    return [*cut([(text, "warn" if problems else "dim")], room), *cut([(mark, "warn")], width)]


def _rows(sensors: Sequence[SensorView], width: int, look: Look, now_s: float) -> list[list[Piece]]:
    name_width = min(max(width_of([(sensor.name, "")]) for sensor in sensors), max(8, width // 3))
    level_width = len(sensors[0].level(look)[0])
    left = width - name_width - 2 - level_width
    notices = [sensor.notice(now_s, look) for sensor in sensors]
    quiet = [sensor for sensor, notice in zip(sensors, notices, strict=True) if not notice]
    signal_width = len("  signal 100%")
    verdicts = iter(_widest_verdict(quiet, left - signal_width, look))
    bodies: list[list[Piece]] = []
    for sensor, notice in zip(sensors, notices, strict=True):
        bodies.append(notice or [*next(verdicts), (_signal(sensor), "dim")])
    body_width = min(left, max(width_of(body) for body in bodies))
    left -= body_width
    times = ["" if sensor.last is None else f"  {clock(sensor.last.time_s)}" for sensor in sensors]
    time_width = max(map(len, times))
    if time_width > left:
        times, time_width = [""] * len(sensors), 0
    curve_width = min(COLUMNS, left - time_width - 2)
    lines = []
    for sensor, body, time in zip(sensors, bodies, times, strict=True):
        line = [*padded([(sensor.name, "")], name_width), ("  ", ""), sensor.level(look)]
        if curve_width >= _MIN_CURVE:
            line.append(sensor.curve(curve_width, look))
        lines.append(cut([*line, *padded(body, body_width), (time.rjust(time_width), "dim")], width))
    return lines


def _signal(sensor: SensorView) -> str:
    return "" if sensor.last is None else f"  signal {sensor.last.quality.score:4.0%}"


def _widest_verdict(sensors: Sequence[SensorView], room: int, look: Look) -> list[list[Piece]]:
    """The verdicts of these sensors with the widest bars with which each fits into `room` columns."""
    found: list[list[Piece]] = []
    for bar_width in _BAR_WIDTHS:
        found = [sensor.verdict(bar_width, look) for sensor in sensors]
        if all(width_of(verdict) <= room for verdict in found):
            break
    return found
