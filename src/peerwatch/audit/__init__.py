"""Audit: proves which agent signed what is stored. Reads a store's files, trusts nothing in them but signatures."""
