"""Official measures, statistics, costs and what rationales are worth."""
