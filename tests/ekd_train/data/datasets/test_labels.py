"""labels.csv as people write it."""

import csv
import io
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ekd_edge.errors import DataError
from ekd_train.data.datasets.labels import Labels, read_labels
from ekd_train.data.datasets.rating_scale import parse_scale

HEADER = "recording,subject,trial,start_s,end_s"


def read(folder: Path, text: str, scale: str | None = None) -> Labels:
    path = folder / "labels.csv"
    path.write_text(text)
    return read_labels(path, None if scale is None else parse_scale(scale))


def ratings(labels: Labels) -> list[dict[str, float]]:
    return [dict(trial.ratings) for trials in labels.trials.values() for trial in trials]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_are_read_where_the_separator_is_another(tmp_path: Path, separator: str) -> None:
    text = f"{HEADER},arousal,rate_hz\na,p,t,0¦5,4¦25,3¦5,19¦5\n".replace(",", separator).replace("¦", ",")
    labels = read(tmp_path, text)
    (trial,) = labels.trials["a"]
    assert (trial.start_s, trial.end_s, trial.ratings) == (0.5, 4.25, {"arousal": 3.5})
    assert labels.declared["a"].rate_hz == 19.5


def test_decimal_comma_in_quotes_between_commas_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: arousal is '3,5', which is not a finite number"):
        read(tmp_path, f'{HEADER},arousal\na,p,t,0,4,"3,5"\n')


@pytest.mark.parametrize(("column", "cell"), [("age", "25"), ("sex", "f"), ("notes", "felt ill"), ("id", "0")])
def test_columns_without_ratings_are_ignored_and_named(tmp_path: Path, column: str, cell: str) -> None:
    labels = read(tmp_path, f"{HEADER},{column},arousal\na,p,t,0,4,{cell},3\n")
    assert labels.targets == ("arousal",)
    assert ratings(labels) == [{"arousal": 3.0}]
    assert labels.notes == (f"columns of labels.csv without ratings are ignored: {column}",)
    assert f"line 2: {column} is" in labels.refused[column]


def test_column_without_any_rating_is_no_target(tmp_path: Path) -> None:
    labels = read(tmp_path, f"{HEADER},valence,arousal\na,p,t,0,4,,3\na,p,u,4,8,NA,\n")
    assert labels.targets == ("arousal",)
    assert "no rating in the column valence" in labels.refused["valence"]
    assert ratings(labels) == [{"arousal": 3.0}, {}]


def test_fault_of_the_only_ratings_is_shown_and_not_that_of_another_column(tmp_path: Path) -> None:
    text = f"{HEADER},age,arousal,sex\na,p,t,0,4,25,3,f\na,p,u,4,8,25,11,f\n"
    with pytest.raises(DataError, match="line 3: arousal is 11, but ratings go from 1 to 9: state another scale"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("scale", "given", "expected"),
    [
        ("1..5", ["1", "3", "5"], [1.0, 5.0, 9.0]),
        ("1-7", ["1", "4", "7"], [1.0, 5.0, 9.0]),
        ("0..100", ["0", "50", "75"], [1.0, 5.0, 7.0]),
        ("-3..3", ["-3", "0", "1.5"], [1.0, 5.0, 7.0]),
        ("0..1", ["0", "0.5", "1"], [1.0, 5.0, 9.0]),
        ("0.1 to 0.7", ["0.1", "0.4", "0.7"], [1.0, 5.0, 9.0]),
    ],
)
@pytest.mark.parametrize("stated", ["option", "(", "["])
def test_ratings_of_a_stated_scale_are_mapped_to_1_to_9(
    tmp_path: Path, scale: str, given: list[str], expected: list[float], stated: str
) -> None:
    rows = "".join(f"a,p,t{k},{k},{k + 1},{rating}\n" for k, rating in enumerate(given))
    column = {"option": "calm", "(": f"calm ({scale})", "[": f"calm[{scale}]"}[stated]
    labels = read(tmp_path, f"{HEADER},{column}\n{rows}", scale if stated == "option" else None)
    assert labels.targets == ("calm",)
    assert ratings(labels) == [{"calm": value} for value in expected]
    (note,) = labels.notes
    assert note.startswith("ratings of calm are mapped from ")


def test_scale_in_a_header_holds_before_the_option(tmp_path: Path) -> None:
    labels = read(tmp_path, f"{HEADER},calm (1..9),arousal\na,p,t,0,1,9,4\n", "0..4")
    assert ratings(labels) == [{"calm": 9.0, "arousal": 9.0}]
    assert labels.notes == ("ratings of arousal are mapped from 0..4 to 1..9, the scale of thresholds",)


@pytest.mark.parametrize(("highest", "doubted"), [(5, True), (7, True), (8, False), (6.5, False)])
def test_scale_that_ratings_do_not_use_is_doubted(tmp_path: Path, highest: float, doubted: bool) -> None:
    rows = "".join(f"a,p,t{k},{k},{k + 1},{1 + k % 4}\n" for k in range(9)) + f"a,p,last,9,10,{highest}\n"
    notes = read(tmp_path, f"{HEADER},arousal\n{rows}").notes
    text = (
        f"the highest of 10 ratings of arousal is {highest}: if their scale ends there, state it, such as --scale 1.."
    )
    assert notes == ((f"{text}{highest}",) if doubted else ())
    assert read(tmp_path, f"{HEADER},arousal (1..9)\n{rows}").notes == ()


def test_scale_of_ratings_with_two_levels_is_not_doubted(tmp_path: Path) -> None:
    rows = "".join(f"a,p,t{k},{k},{k + 1},{3 + 4 * (k % 2)}\n" for k in range(20))
    assert read(tmp_path, f"{HEADER},arousal\n{rows}").notes == ()


def test_rating_outside_of_the_stated_scale_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 2: arousal is 6, but the stated scale is 1\.\.5: correct"):
        read(tmp_path, f"{HEADER},arousal (1..5)\na,p,t,0,4,6\n")


@pytest.mark.parametrize("text", ["5..1", "3..3", "low..high", "9", ""])
def test_malformed_scale_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"write its lowest and highest rating, such as 1\.\.5"):
        parse_scale(text)


def test_malformed_scale_in_a_header_is_refused_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels\.csv: the scale '9\.\.1' does not rise: write its lowest"):
        read(tmp_path, f"{HEADER},arousal (9..1)\na,p,t,0,1,3\n")


def test_times_as_hours_minutes_and_seconds_are_read(tmp_path: Path) -> None:
    labels = read(tmp_path, "recording,subject,trial,start,end,arousal\na,p,t,0:01:30,1:00:02.5,3\n")
    (trial,) = labels.trials["a"]
    assert (trial.start_s, trial.end_s) == (90.0, 3602.5)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("2024-01-01T10:00:00", "start_s is '2024-01-01T10:00:00', but the recording has no dates: write seconds"),
        ("2024-01-01 10:00", "start_s is '2024-01-01 10:00', but the recording has no dates"),
        ("01.01.2024 10:00", "start_s is '01.01.2024 10:00', which is not a finite number: write seconds"),
        ("1:30", "start_s is '1:30', which is not a finite number: write seconds, or h:mm:ss"),
        ("0:75:00", "write seconds, or h:mm:ss"),
        ("inf", "write seconds, or h:mm:ss"),
    ],
)
def test_other_times_are_refused_in_one_sentence(tmp_path: Path, start: str, message: str) -> None:
    with pytest.raises(DataError, match=f"line 2: {message}" if message.startswith("start") else message):
        read(tmp_path, f"{HEADER},arousal\na,p,t,{start},9000,3\n")


def test_names_of_columns_may_be_in_capitals(tmp_path: Path) -> None:
    labels = read(tmp_path, "Recording,Subject,Trial,Start_s,End_s,arousal\na.CSV,p,t,0,4,3\n")
    assert tuple(labels.trials) == ("a",)
    assert labels.lines == {"a": (2,)}


_NAMES = st.text(
    st.characters(codec="cp1252", exclude_categories=("C", "Z"), exclude_characters="#/"), min_size=1
).filter(lambda name: not name.lower().endswith(".csv") and unicodedata.is_normalized("NFC", name))
_TENTHS = st.integers(10, 90)


@given(
    rows=st.lists(st.tuples(_NAMES, _TENTHS), min_size=1, max_size=8, unique_by=lambda row: row[0]),
    separator=st.sampled_from(",;\t"),
    comma=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    age=st.booleans(),
)
def test_written_table_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, int]],
    separator: str,
    comma: bool,
    encoding: str,
    end: str,
    age: bool,
) -> None:
    """Decimal commas between commas are refused; in all other tables, what is read is what was written."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=end)
    writer.writerow([*HEADER.split(","), *(["age"] if age else []), "arousal"])
    for number, (name, tenths) in enumerate(rows):
        rating = f"{tenths / 10:.1f}".replace(".", "," if comma else ".")
        writer.writerow([name, "p", "t", number, number + 1, *([25] if age else []), rating])
    path = tmp_path_factory.mktemp("table") / "labels.csv"
    data = text.getvalue().encode(encoding)
    # Bytes of cp1252 that are also UTF-8, such as those of "Â¡", are read as UTF-8: nothing shows which was meant.
    with suppress(UnicodeDecodeError):
        assume(encoding != "cp1252" or data.decode() == text.getvalue())
    path.write_bytes(data)
    if comma and separator == ",":
        with pytest.raises(DataError, match="line 2: arousal is "):
            read_labels(path)
        return
    labels = read_labels(path)
    assert labels.targets == ("arousal",)
    found = {name: trials[0].ratings["arousal"] for name, trials in labels.trials.items()}
    assert found == {name: tenths / 10 for name, tenths in rows}
