"""Remote write in: what a Prometheus, or anything that speaks its protocol, sends to this hub."""
