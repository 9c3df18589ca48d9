"""The load: what is sent and when, the client that sends it, and the searches that choose it."""
