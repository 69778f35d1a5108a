"""The agent: sample, batch, seal, spool, ship."""
