"""The values that every wing shares; nothing here does input or output, or imports another wing."""
