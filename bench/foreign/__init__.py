"""Files that others wrote: traces and prompts, and the results of other tools."""
