"""A service with a simulated fleet, to look at: agents that work, one that misbehaves, CI, people who decide, and users with their trust.

`make demo` runs it on a policy and a database of its own. Everything goes through the public client, as it would from outside.
"""
