"""Training rows: sets of passages drawn from judged queries, and rewards for their orders."""
