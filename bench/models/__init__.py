"""What is served: its config.json, its checkpoints and weights, and making a quantised one."""
