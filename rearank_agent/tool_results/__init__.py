"""The list in the result of another tool, in any form."""
