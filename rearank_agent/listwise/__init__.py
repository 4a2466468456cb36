"""What a language model is asked about a window of passages, and which replies are accepted."""
