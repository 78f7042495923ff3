"""The ways to people: each takes a message to its receiver, and says what went wrong (SPEC 11)."""
