"""Hostile model files, determined by a seed: the same ones on every machine."""

import io
import json
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ekd_edge.model.container import MAX_MANIFEST_BYTES, Contents, pack

Chance = random.Random
SIGNATURE_ONLY = "signature"
"""The kind that a reader without --trust may accept: only the signature is missing or by another key."""


@dataclass(frozen=True)
class Victims:
    """A signed model file, and another one signed by the same key."""

    mine: Contents
    other: Contents


def mutants(victims: Victims, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """`count` files with the name of their kind, none of them equal to a victim."""
    chance = random.Random(seed)
    originals = {pack(each) for signed in (victims.mine, victims.other) for each in (signed, unsigned(signed))}
    weights = [weight for weight, _ in KINDS.values()]
    made = 0
    while made < count:
        (kind,) = chance.choices(list(KINDS), weights)
        base = victims.mine if chance.random() < 0.5 else unsigned(victims.mine)
        mutant = KINDS[kind][1](chance, base, victims.other)
        if mutant not in originals:
            made += 1
            yield kind, mutant


def unsigned(contents: Contents) -> Contents:
    return replace(contents, signature=None)


def flip(chance: Chance, content: bytes, most: int = 8) -> bytes:
    mutant = bytearray(content)
    for _ in range(chance.randint(1, most)):
        mutant[chance.randrange(len(mutant))] ^= 1 << chance.randrange(8)
    return bytes(mutant)


def tail_flips(chance: Chance, base: Contents, other: Contents) -> bytes:
    return base.flatbuffer + flip(chance, pack(base)[len(base.flatbuffer) :])


def bit_flips(chance: Chance, base: Contents, other: Contents) -> bytes:
    return flip(chance, pack(base))


def insertions(chance: Chance, base: Contents, other: Contents) -> bytes:
    content = pack(base)
    at, length = chance.randrange(len(content)), chance.choice([1, 2, 4, 22, 46, 300, 5000])
    piece = chance.choice([bytes(length), chance.randbytes(length), content[at : at + length]])
    return content[:at] + piece + content[at + chance.choice([0, 0, length]) :]


def deletions(chance: Chance, base: Contents, other: Contents) -> bytes:
    content = pack(base)
    start = chance.randrange(len(content))
    return content[:start] + content[start + chance.choice([1, 2, 4, 16, 22, 46, 1000]) :]


def truncations(chance: Chance, base: Contents, other: Contents) -> bytes:
    content, length = pack(base), len(base.flatbuffer)
    places = [0, 4, 8, length, length + 30, length + 38, length + 38 + len(base.manifest), len(content)]
    at = max(0, chance.choice(places) + chance.randint(-30, 30))
    return content[: chance.choice([at, chance.randrange(len(content))])]


def splices(chance: Chance, base: Contents, other: Contents) -> bytes:
    mine, theirs = pack(base), pack(other)
    at, to = chance.randrange(len(mine)), chance.randrange(len(theirs))
    return chance.choice(
        [
            pack(replace(base, manifest=other.manifest)),
            pack(replace(base, manifest=other.manifest, signature=other.signature)),
            pack(replace(other, manifest=base.manifest)),
            pack(replace(base, flatbuffer=other.flatbuffer)),
            base.flatbuffer + theirs[len(other.flatbuffer) :],
            mine[:at] + theirs[to:],
            mine[:at] + theirs[at:],
            theirs[:to] + mine[to:],
        ]
    )


def doubled(chance: Chance, base: Contents, other: Contents) -> bytes:
    mine, theirs = pack(base), pack(other)
    tail = mine[len(base.flatbuffer) :]
    whole = pack(replace(base, flatbuffer=mine))
    return chance.choice([mine + mine, mine + tail, mine + theirs, theirs + mine, whole, mine + b"PK\5\6" + bytes(18)])


def headers(chance: Chance, base: Contents, other: Contents) -> bytes:
    """A field of a zip record set to an extreme value: sizes, offsets, counts, methods, flags."""
    content = bytearray(pack(base))
    start = len(base.flatbuffer)
    record = chance.choice([b"PK\1\2", b"PK\3\4", b"PK\5\6"])
    at = content.index(record, start)
    size = {b"PK\1\2": 46, b"PK\3\4": 30, b"PK\5\6": 22}[record]
    width = chance.choice([2, 4])
    value = chance.choice([2**31 - 1, 2**31, 2**32 - 1, 2**32 - 2, 0, 1, 8, 99, len(content), 1 << 30])
    field = at + 2 * chance.randrange(2, size // 2 - 1)
    struct.pack_into("<H" if width == 2 else "<L", content, field, value % (1 << 8 * width))
    return bytes(content)


def zips(chance: Chance, base: Contents, other: Contents) -> bytes:
    """Containers rewritten by Python's zipfile: bombs, path tricks, comments, further entries, symbolic links."""
    file = io.BytesIO(base.flatbuffer)
    file.seek(0, io.SEEK_END)
    with warnings.catch_warnings(), zipfile.ZipFile(file, "a") as archive:
        warnings.simplefilter("ignore")
        trick = chance.randrange(8)
        info = zipfile.ZipInfo("ekd.json", (1980, 1, 1, 0, 0, 0))
        info.external_attr = 0o100644 << 16
        if trick == 0:
            info.compress_type = chance.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
        elif trick == 1:
            info.filename = chance.choice(NAMES)
        elif trick == 2:
            info.external_attr = chance.choice([0o120777, 0o010644, 0o020644, 0o104755]) << 16
        elif trick == 3:
            archive.comment = chance.randbytes(chance.randrange(1, 600))
        elif trick == 4:
            info.extra = struct.pack("<HH", chance.randrange(2**16), 8) + chance.randbytes(8)
        elif trick == 5:
            info.comment = b"hello"
        if trick == 6:
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, BOMB)
        else:
            archive.writestr(info, base.manifest)
        if trick == 7:
            for _ in range(chance.choice([1, 2, 200])):
                archive.writestr(chance.choice([*NAMES, "ekd.json", "ekd.sig"]), chance.randbytes(96))
    return file.getvalue()


def zip64(chance: Chance, base: Contents, other: Contents) -> bytes:
    content = pack(base)
    end, size = content[-22:], len(base.manifest)
    offset = struct.unpack_from("<L", end, 16)[0]
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(content) - 22 - offset, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(content) - 22, 1)
    if chance.random() < 0.5:
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0)
    extra = struct.pack("<HHQQ", 1, 16, size, size)
    return content[:-22] + chance.choice([b"", extra]) + record + locator + end


def hostile_json(chance: Chance, base: Contents, other: Contents) -> bytes:
    """A valid container with invalid JSON; the checksum and the model's hash are right."""
    text = base.manifest.decode()
    many = chance.randrange(20, 20_000)
    data = json.loads(text)
    place = data if chance.random() < 0.4 else data[chance.choice(["signal", "training", "calibration"])]
    key = chance.choice(sorted(place))
    gone = chance.choice(sorted(data))
    odd = chance.choice([[], {}, "", "\0", 1.5, -1, 2**70, ["x", "x"], {"a": 1}, True, None, "\x1b[2J", [[]], 10**400])
    wrong = place | {key: odd}
    made: list[str | bytes] = [
        text.replace('"made_by":', f'"made_by": "twice", {" " * chance.randrange(9)}"made_by":'),
        text.replace('"size_bytes": ', '"size_bytes": ' + "9" * many),
        text.replace('"threshold": ', '"threshold": 1e' + "9" * chance.randrange(3, 400) + ", "),
        text.replace('"evaluation": null', '"evaluation": ' + "[" * many),
        text.replace('"evaluation": null', '"evaluation": {"a": ' + "[" * (32 + many) + "]" * (32 + many) + "}"),
        text.replace('"evaluation": null', '"evaluation": {"a": ' * many + "1" + "}" * many),
        text.replace('"evaluation": null', f'"evaluation": {{"a": {chance.choice(["NaN", "-Infinity", "1e999"])}}}'),
        text.replace("{", "{" + f'"{chance.randbytes(4).hex()}": 1, ', 1),
        text[: chance.randrange(len(text))],
        text + chance.choice(["{}", ",", "\0", text]),
        text.encode(chance.choice(["utf-16", "utf-32", "utf-8-sig"])),
        base.manifest + b"\xff",
        chance.randbytes(many),
        b" " * chance.choice([1, MAX_MANIFEST_BYTES]),
        b"\x80" + base.manifest,
        json.dumps({name: value for name, value in data.items() if name != gone}),
    ]
    if type(odd) is not type(place[key]) and (key, type(odd)) != ("evaluation", dict):
        whole: dict[str, Any] = wrong if place is data else {**data, **{n: wrong for n in data if data[n] is place}}
        made.append(json.dumps(whole))
    chosen = chance.choice(made[-1:] * 10 + made)
    encoded = chosen if isinstance(chosen, bytes) else chosen.encode()
    return pack(replace(base, manifest=encoded))


def odd_containers(chance: Chance, base: Contents, other: Contents) -> bytes:
    """Entries out of order, missing or of other lengths, in an otherwise valid zip."""
    signature = base.signature or chance.randbytes(96)
    entries = chance.choice(
        [
            [(b"ekd.sig", signature), (b"ekd.json", base.manifest)],
            [(b"ekd.sig", signature)],
            [(b"ekd.json", base.manifest), (b"ekd.sig", signature[: chance.randrange(96)])],
            [(b"ekd.json", base.manifest), (b"ekd.sig", signature + b"\0")],
            [(b"ekd.json", base.manifest), (b"ekd.json", base.manifest)],
            [(b"ekd.json", base.manifest), (b"ekd.sig", signature), (b"ekd.sig", signature)],
            [(b"ekd.json", base.manifest), (chance.choice(NAMES).encode(), signature)],
            [(chance.choice(NAMES).encode(), base.manifest)],
            [],
        ]
    )
    local, central = b"", b""
    for name, entry in entries:
        about = (0x800, 0, 0, 0x21, zlib.crc32(entry), len(entry), len(entry), len(name), 0)
        at = len(base.flatbuffer) + len(local)
        local += struct.pack("<4s5H3L2H", b"PK\3\4", 20, *about) + name + entry
        central += struct.pack("<4s6H3L5H2L", b"PK\1\2", 788, 20, *about, 0, 0, 0, 0o100644 << 16, at) + name
    n, start = len(entries), len(base.flatbuffer) + len(local)
    return base.flatbuffer + local + central + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, n, n, len(central), start, 0)


def foreign(chance: Chance, base: Contents, other: Contents) -> bytes:
    content = pack(base)
    start = len(base.flatbuffer)
    return chance.choice(
        [
            content[start:],
            chance.randbytes(4) + b"TFL3" + chance.randbytes(chance.randrange(3000)),
            chance.randbytes(4) + b"TFL3" + content[start:],
            content[:8] + content[start:],
            base.flatbuffer,
            b"\x7fELF" + content[4:],
            content[:4] + b"TFL2" + content[8:],
            bytes(chance.randrange(2000)),
            content + bytes(chance.randrange(1, 70_000)),
            chance.randbytes(chance.randrange(1, 4000)) + content,
        ]
    )


def signatures(chance: Chance, base: Contents, other: Contents) -> bytes:
    assert other.signature is not None
    mine = base.signature or other.signature
    forged = [
        None,
        other.signature,
        flip(chance, mine),
        chance.randbytes(96),
        mine[:64] + chance.randbytes(32),
        bytes(96),
    ]
    return pack(replace(base, signature=chance.choice([each for each in forged if each != base.signature])))


NAMES = [
    "../../etc/passwd",
    "../ekd.json",
    "/etc/passwd",
    "/ekd.json",
    "./ekd.json",
    "ekd.json/",
    "ekd.json\0",
    "ekd\0json",
    "EKD.JSON",
    "ekd.jsom",
    "C:\\ekd.json",
    "..\\ekd.json",
    "ekd.json ",
    "e\u212ad.json",
    "x" * 65_000,
]
BOMB = bytes(2 * MAX_MANIFEST_BYTES)
KINDS: dict[str, tuple[int, Callable[[Chance, Contents, Contents], bytes]]] = {
    "bit flips": (25, bit_flips),
    "bit flips behind the model": (15, tail_flips),
    "insertions": (8, insertions),
    "deletions": (4, deletions),
    "truncations": (10, truncations),
    "splices": (6, splices),
    "doubled": (2, doubled),
    "headers": (10, headers),
    "zips": (4, zips),
    "zip64": (1, zip64),
    "hostile json": (6, hostile_json),
    "odd containers": (4, odd_containers),
    "foreign": (4, foreign),
    SIGNATURE_ONLY: (3, signatures),
}
