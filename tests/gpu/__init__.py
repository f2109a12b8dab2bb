"""Tests that need an NVIDIA GPU: kernels on real memory, faults that take a process along, and whole runs."""
