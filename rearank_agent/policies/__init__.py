"""Policies: what orders or scores a window of passages."""
