"""Our PromQL beside other implementations of it: the same samples or the same text, and the same answer."""
