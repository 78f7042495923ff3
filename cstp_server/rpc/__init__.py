"""The JSON-RPC edge: what comes over the wire becomes requests to the use cases, and what they answer becomes JSON."""
