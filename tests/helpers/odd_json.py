"""JSON with odd parts, and damaged bytes, for fuzz tests."""

import random
import re
from typing import Any

from hypothesis import strategies as st

__all__ = ["damaged", "json_values", "odd_json", "one_part_replaced"]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s"{}\[\],:]+|[{}\[\],:]')
_OPEN = "{["

_FRAGMENTS = (
    *("null", "true", "false", "0", "-1", "1", "1.0", "0.0", "-0.0", "2", "7.5", "1e308", "-1e308", "5e-324", "1e-30"),
    *("NaN", "Infinity", "-Infinity", "1e99999999", "9" * 400, "9" * 5000, "9223372036854775808", "1000000000000"),
    *('""', '" "', '"x"', '"1.0"', '"nan"', '"1e99999999"', '"1/0"', '"1000/3"', f'"{"9" * 400}"'),
    *('"\\u0000"', '"\\u001b[2J"', '"\\ud800"', '"\\u202e"', '"\\n"', '"\u2028"', '"\x7f"', '"\U000e0001"', '"\\x"'),
    *("[]", "{}", "[[]]", "[null]", "[{}]", "[0, 0, 0, 1.0, 0, 0]", '{"": null}', '{"a": 1, "a": 2}', "", "}", "]"),
)
_LARGE = (
    f'"{"y" * 70_000}"',
    "[" * 40 + "]" * 40,
    "[" * 900 + "]" * 900,
    "[" * 100_000,
    '{"a":' * 500 + "1" + "}" * 500,
)
_LARGE_SHARE = 0.01


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The bytes with one to six changes: bits, replaced, removed and repeated stretches."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(made))
        match chance.randrange(4):
            case 0:
                made[at] ^= 1 << chance.randrange(8)
            case 1:
                made[at : at + chance.randrange(40)] = chance.randbytes(chance.randrange(40))
            case 2:
                del made[at : at + chance.randrange(300)]
            case _:
                made[at:at] = made[chance.randrange(len(made)) :][: chance.randrange(300)]
        made = made or bytearray(1)
    return bytes(made)


def odd_json(data: bytes, chance: random.Random) -> bytes:
    """JSON with one to three of its parts replaced by odd ones, removed or doubled; it may be invalid."""
    tokens = _TOKEN.findall(data.decode())
    for _ in range(1 if chance.random() < 0.7 else chance.randint(2, 3)):
        _change(tokens, chance)
    return " ".join(tokens).encode("utf-8", "surrogatepass")


def _change(tokens: list[str], chance: random.Random) -> None:
    values = [at for at, token in enumerate(tokens) if token not in ("}", "]", ",", ":")]
    if not values:
        tokens[:] = [chance.choice(_FRAGMENTS)]
        return
    at = chance.choice(values)
    end = _end_of(tokens, at)
    fragments = _LARGE if chance.random() < _LARGE_SHARE else _FRAGMENTS
    match chance.randrange(8):
        case 0:
            del tokens[at : end + (tokens[end : end + 1] == [","])]
        case 1:
            tokens[at:at] = [*tokens[at:end], ","]
        case 2:
            other = chance.choice(values)
            tokens[at:end] = tokens[other : _end_of(tokens, other)]
        case _:
            tokens[at:end] = [chance.choice(fragments)]


def _end_of(tokens: list[str], at: int) -> int:
    """The end of the value that begins at a token; of a key, the end of its value."""
    if tokens[at] not in _OPEN:
        return at + 1
    depth = 0
    for end in range(at, len(tokens)):
        depth += (tokens[end] in _OPEN) - (tokens[end] in ("}", "]"))
        if depth == 0:
            return end + 1
    return len(tokens)


def json_values() -> st.SearchStrategy[Any]:
    """Any value that JSON can hold, NaN and infinities included."""
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
    return st.recursive(
        plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    )


@st.composite
def one_part_replaced(draw: st.DrawFn, whole: Any) -> Any:
    """The JSON value with one of its parts, at any depth, replaced by another value, or removed from its object."""
    if isinstance(whole, dict) and whole and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(whole)))
        rest = {name: value for name, value in whole.items() if name != key}
        return rest if draw(st.integers(0, 9)) == 0 else {**rest, key: draw(one_part_replaced(whole[key]))}
    if isinstance(whole, list) and whole and draw(st.integers(0, 9)):
        at = draw(st.integers(0, len(whole) - 1))
        return [*whole[:at], draw(one_part_replaced(whole[at])), *whole[at + 1 :]]
    return draw(json_values())
