"""What can be sampled: one file per source. The table is in `kinds`."""
