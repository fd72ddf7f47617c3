"""Everything that runs on the device: signal chain, model_file, classifier, sensor, live loop."""
