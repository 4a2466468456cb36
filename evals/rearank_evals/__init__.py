"""Any policy and schedule on any collection: official figures, statistics, costs and reasons."""
