"""The Model Context Protocol: the service's calls as tools that models use by themselves (SPEC 11).

What the tools are is told here; what they do is done by the methods of the same service, with the same params, results, roles and limits.
Only `answering` and `stdio` import the protocol's SDK, which takes a second to load.
"""
