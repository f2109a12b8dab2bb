"""Tests of the programs that measure, as far as they need no GPU."""
