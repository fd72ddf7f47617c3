"""Recordings of sample blocks on disk: format, recorder, replay."""
