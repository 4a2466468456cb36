"""Mixed load for minutes or an hour, with kills of the model's server in between."""
