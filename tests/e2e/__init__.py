"""End to end: real processes and real sockets on loopback, one story per test."""
