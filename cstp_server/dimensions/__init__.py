"""The kinds of constraints that there are: the six that are built in, and those of installed packages (SPEC 9)."""
