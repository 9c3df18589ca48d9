"""The fault table as code: what is done to bench, and what it promises then.

Each fault is a function that does it for real (a socket that is reset, a file that is damaged, a
server that dies) and asserts the promise. `point` is the number of the kind: 1 connections,
2 engine death, 3 stored runs, 4 metrics and probes, 5 names, 6 secrets, 7 escape sequences,
8 streams and signals, 9 inputs, 10 messages. The tests run them all, scripts/fault_table.py prints
them.
"""

from __future__ import annotations

import faults_of_connections as connections
import faults_of_files as files
import faults_of_inputs as inputs
import faults_of_messages as messages
import faults_of_names as names
import faults_of_runs as runs
import faults_of_surroundings as surroundings
from fault import FAULTS, Fault, Place

PARTS = (connections, runs, names, files, inputs, messages, surroundings)
"""Each puts its faults into the list when it is read."""

__all__ = ["FAULTS", "PARTS", "Fault", "Place"]
