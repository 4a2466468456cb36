"""Every query of a collection through a policy, kept on disk as it is done."""
