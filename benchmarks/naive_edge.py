"""A straightforward script: pyserial's readline, NeuroKit2 (or scipy) over the last window, a TFLite interpreter.

    python -m benchmarks.naive_edge PORT MODEL RATE_HZ

The peer of `bench_edge.py`. It reads CSV lines in uS from a port. Every second it filters the whole last window,
resamples it to the model's rate, normalizes and classifies it, and prints the probabilities as JSON.
"""

import json
import sys
from collections import deque
from pathlib import Path

import numpy as np
import serial
from ai_edge_litert.interpreter import Interpreter
from scipy import signal

from ekd_edge.model.file import load_model_file

try:
    from neurokit2 import eda_clean
except ImportError:
    eda_clean = None


def cleaned(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    if eda_clean is not None:
        return np.asarray(eda_clean(samples, sampling_rate=rate_hz, method="biosppy"))
    return signal.sosfiltfilt(signal.butter(4, 5, fs=rate_hz, output="sos"), samples)


def main() -> None:
    port, path, rate_hz = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    model_file = load_model_file(path)
    spec = model_file.manifest.signal
    interpreter = Interpreter(model_content=model_file.flatbuffer)
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    window: deque[float] = deque(maxlen=round(spec.window_s * rate_hz))
    seen = 0
    with serial.Serial(port, 115200, timeout=1) as device:
        while True:
            try:
                line = device.readline()
            except serial.SerialException:
                return
            try:
                window.append(float(line))
            except ValueError:
                continue
            seen += 1
            if len(window) < window.maxlen or seen % round(spec.hop_s * rate_hz):
                continue
            levels = np.log(np.maximum(cleaned(np.array(window), rate_hz), 0.01))
            values = signal.resample(levels - levels.mean(), spec.window_samples) * spec.normalization.gain
            scale, zero = source["quantization"]
            values = np.clip(np.rint(values / scale) + zero, -128, 127).astype(np.int8) if scale else values
            interpreter.set_tensor(source["index"], values.astype(source["dtype"])[np.newaxis])
            interpreter.invoke()
            scale, zero = result["quantization"]
            logits = interpreter.get_tensor(result["index"])[0].astype(float)
            logits = (logits - zero) * scale if scale else logits
            powers = np.exp(logits - logits.max())
            print(json.dumps({"sample": seen, "probabilities": (powers / powers.sum()).tolist()}), flush=True)


if __name__ == "__main__":
    main()
