"""A process that reads hostile files and prints the outcome of each; a file may crash it.

    python -m tests.end_to_end.attacks.attack MODE SIGNED OTHER PUBKEY COUNT SEED START

MODE load: refuse mutants without running one. MODE rehash: run mutants with a recomputed hash.

It prints one line for each file at once: its number, its kind and the outcome.
"""

import hashlib
import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ekd_edge.errors import EkdError, ModelFileError
from ekd_edge.model.container import pack, read_contents
from ekd_edge.model.file import load_model_file
from ekd_edge.model.interpreter import open_classifier
from ekd_edge.model.signature import Trust, read_trust
from tests.end_to_end.attacks import mutants


def load(path: Path, kind: str, trust: Trust) -> str:
    """Both readers must refuse in one sentence; a bad signature is found only by a reader with a trusted key."""
    for reader in (None, trust):
        if reader is None and kind == mutants.SIGNATURE_ONLY:
            continue
        try:
            load_model_file(path, reader)
        except ModelFileError as error:
            if "\n" in str(error):
                return f"message of several lines: {error!r}"
        else:
            return f"accepted {'with' if reader else 'without'} trust"
    return "refused" if "ai_edge_litert" not in sys.modules else "reached the runtime"


def run(path: Path, kind: str, trust: Trust) -> str:
    """The file must be refused with trust; without trust, the outcome of the runtime is returned."""
    try:
        load_model_file(path, trust)
    except ModelFileError:
        pass
    else:
        return "accepted with trust"
    try:
        model_file = load_model_file(path)
        window = np.linspace(-1, 1, model_file.manifest.signal.window_samples, dtype=np.float32)
        logits = open_classifier(model_file).predict(window[None])
    except EkdError:
        return "refused"
    except Exception as error:  # noqa: BLE001  (reported, not hidden)
        return f"raised {type(error).__name__}"
    return "ran" if np.isfinite(logits).all() else "non-finite logits"


def rehashed(victims: mutants.Victims, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Files with flipped bits in the flatbuffer and a matching hash, as from an attacker without the key."""
    chance = random.Random(seed)
    for _ in range(count):
        flatbuffer = mutants.flip(chance, victims.mine.flatbuffer[:4096], 3) + victims.mine.flatbuffer[4096:]
        if chance.random() < 0.5:
            flatbuffer = victims.mine.flatbuffer[:8] + mutants.flip(chance, victims.mine.flatbuffer[8:])
        manifest = json.loads(victims.mine.manifest) | {"sha256": hashlib.sha256(flatbuffer).hexdigest()}
        signature = chance.choice([None, victims.mine.signature, victims.other.signature])
        yield "rehashed", pack(mutants.Contents(flatbuffer, json.dumps(manifest).encode(), signature))


def main() -> None:
    mode, signed, other, public, *numbers = sys.argv[1:]
    count, seed, start = map(int, numbers)
    make: Callable[..., Iterator[tuple[str, bytes]]] = mutants.mutants if mode == "load" else rehashed
    attack = load if mode == "load" else run
    victims, trust = (
        mutants.Victims(*(read_contents(Path(name)) for name in (signed, other))),
        read_trust([Path(public)]),
    )
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        for number, (kind, content) in enumerate(make(victims, count, seed)):
            if number < start:
                continue
            file.seek(0)
            file.write(content)
            file.truncate()
            file.flush()
            print(number, kind, sep="\t", end="\t", flush=True)
            print(attack(Path(file.name), kind, trust), flush=True)


if __name__ == "__main__":
    main()
