"""Devices and processes: where a step runs."""
