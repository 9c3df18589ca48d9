"""What scores the answers of a served model."""
