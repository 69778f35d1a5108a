"""Bytes to model and back, without any I/O: batches, schemas, envelopes, acks, identities."""
