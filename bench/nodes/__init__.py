"""The other machines of a run: who they are, how something is started there, whose clock is where.

The head starts an agent on each of them, by the scheduler's own words or ssh, and is joined by it.
"""
