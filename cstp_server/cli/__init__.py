"""The command line: `cstp`."""
