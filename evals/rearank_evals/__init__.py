"""Evaluation of policies on collections: official measures, statistics, costs, rationales."""
