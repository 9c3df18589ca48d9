"""Runs asked for by name before they are launched: sweeps, whoever launches them, and their ends.

A sweep writes down which runs it asks for (`asked`), each run is claimed by one writer at a time
and says how it ended in its own folder (`ends`), and what became of all is read from there
(`state`). So no result travels in the memory of a process that may be on another machine.
"""
