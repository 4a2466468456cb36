"""Training the embedded policy."""
