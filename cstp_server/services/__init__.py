"""The use cases: what a call needs, and what it decides, without knowing where rows live or how calls arrive."""
