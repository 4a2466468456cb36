import os

# bm25s imports JAX where it is installed, which would take most of a GPU; the program says so too
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
