"""Reading and writing of collections, first-stage runs and judgements."""
