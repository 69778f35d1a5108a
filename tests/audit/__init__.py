"""Tests of what an audit proves."""
