"""Tests of how a config is evaluated: processes, compilation, checks, timing, meters."""
