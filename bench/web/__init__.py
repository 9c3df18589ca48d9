"""One bounded HTTP exchange; nothing that is asked over the network may hang or flood a run."""
