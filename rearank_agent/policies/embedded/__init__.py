"""The default policy: a small sentence encoder that ships with the package, run by onnxruntime."""
