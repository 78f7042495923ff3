"""Constraints on the use of language models."""
