"""How envelopes travel. Each link has `push` and `membership`, and speaks LinkError."""
