"""Search over files: files to chunks, chunks to an index, an index to first-stage candidates."""
