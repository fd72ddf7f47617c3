"""Windows of recordings by the signal chain, computed on the machine that runs this program.

    python chain.py RECORDINGS.npz FOUND.npz

RECORDINGS.npz holds signals "RATE-IN RATE-OUT NORMALIZATION ..." in uS; FOUND.npz their windows under the same names,
the filter's output in float64 under "filter NAME" and the resampler's under "resampler NAME".
"""

import sys
from fractions import Fraction

import numpy as np

from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.design import gsr_spec
from ekd_edge.signal.filter import CausalFilter
from ekd_edge.signal.normalize import Normalization
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_edge.signal.resample import Resampler


def main(source: str, target: str) -> None:
    found = {}
    with np.load(source) as recordings:
        for name in recordings:
            rate_in, rate_out, normalization = name.split()[:3]
            spec = gsr_spec(rate_hz=Fraction(rate_out), window_s=4, hop_s=1, normalization=Normalization(normalization))
            signal = recordings[name]
            block = SampleBlock(signal, 0, Fraction(rate_in))
            found[name] = np.array(Preprocessor(spec).push_batch(block).values)
            found[f"filter {name}"] = CausalFilter(spec.sos).push(signal)
            found[f"resampler {name}"] = Resampler(Fraction(rate_in), spec.rate_hz).push(signal)
    np.savez(target, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
