"""The edge, from bytes on the wire to requests to the use cases and back."""
