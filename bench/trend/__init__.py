"""What prices and ratings do over time: lines, steps, crossings, and scales that were moved."""
