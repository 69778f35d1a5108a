"""Who belongs: keys, the root and the hubs it certifies, the roster, invites."""
