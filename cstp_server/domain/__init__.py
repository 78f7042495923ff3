"""The pure core: no input or output, no clock, no framework. Time, ids and state come in; verdicts, changes and events go out."""
