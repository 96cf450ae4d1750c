"""Layouts of state and batch over devices and processes."""
