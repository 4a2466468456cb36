"""Who is next where requests share threads or calls: the one with the least work left."""
