"""Quality of served variants: paired statistics over the same items. Pure."""
