"""The dashboard: pages for people, made on the server, live by server-sent events (SPEC 11)."""
