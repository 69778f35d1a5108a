"""The hub's way in: check, deduplicate, commit in groups, acknowledge what is durable."""
