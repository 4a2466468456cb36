"""The list inside another tool's result, in whatever form it came."""
