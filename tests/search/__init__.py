"""Tests of which config comes next."""
