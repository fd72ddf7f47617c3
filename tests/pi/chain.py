"""Windows of recordings by the signal chain, computed on the machine that runs this program.

    python chain.py RECORDINGS.npz FOUND.npz

RECORDINGS.npz holds signals "RATE-IN ..." in uS and their specifications as JSON under "spec NAME", since filters are
designed where scipy is installed. FOUND.npz holds their windows under the same names, and in float64 the output of the
filter under "filter NAME", of the resampler under "resampler NAME", of the running mean under "normalizer NAME".
"""

import json
import sys
from fractions import Fraction

import numpy as np

from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.filter import CausalFilter
from ekd_edge.signal.normalize import Normalizer
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_edge.signal.resample import Resampler
from ekd_edge.signal.spec import SignalSpec


def main(source: str, target: str) -> None:
    found = {}
    with np.load(source) as recordings:
        for name in recordings:
            if name.startswith("spec "):
                continue
            rate_in = name.split()[0]
            spec = SignalSpec.from_json(json.loads(str(recordings[f"spec {name}"])))
            signal = recordings[name]
            block = SampleBlock(signal, 0, Fraction(rate_in))
            found[name] = np.array(Preprocessor(spec).push_batch(block).values)
            filtered = CausalFilter(spec.sos).push(signal)
            found[f"filter {name}"] = filtered
            found[f"normalizer {name}"] = Normalizer(spec.normalization, spec.rate_hz).push(filtered)
            found[f"resampler {name}"] = Resampler(Fraction(rate_in), spec.rate_hz).push(signal)
    np.savez(target, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
