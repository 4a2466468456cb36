"""Official measures, statistics, costs and measures of rationales."""
