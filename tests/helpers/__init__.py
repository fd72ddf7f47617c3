"""Helpers of tests in several folders: paths, commands as processes, builders of fixtures."""
