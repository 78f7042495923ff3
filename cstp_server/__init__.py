"""Governance for AI agents: circuit breakers, guardrails and the record of every decision, over JSON-RPC."""

__version__ = "0.1.0"
