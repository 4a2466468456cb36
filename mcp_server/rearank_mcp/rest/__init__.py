"""The web service: POST /v1/rerank."""
