"""Everything that runs on the device: signal chain, artefact, classifier, sensor, live loop."""
