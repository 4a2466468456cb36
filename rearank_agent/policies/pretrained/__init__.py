"""Policies made of other people's models: cross-encoders and encoders, from a hub or a folder."""
