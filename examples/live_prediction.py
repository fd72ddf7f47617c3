"""Print predictions from a sensor as they are made.

    python examples/live_prediction.py                                  # a simulated sensor, the demo model
    python examples/live_prediction.py /dev/ttyUSB0 student-int8.tflite

The demo model was trained on synthetic data: its predictions say nothing about a person.
"""

import sys

import ekd_edge

port = sys.argv[1] if len(sys.argv) > 1 else "sim://"
model = ekd_edge.load_model(sys.argv[2] if len(sys.argv) > 2 else "demo")

with ekd_edge.open_sensor(port) as sensor:
    for prediction in model.predict(sensor):
        # A label is None where the signal quality is not acceptable, for example while an electrode is off.
        print(f"{prediction.time_s:.1f} s", dict(prediction.labels), dict(prediction.probabilities), flush=True)
