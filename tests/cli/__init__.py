"""Tests of the command line's parts that decide."""
