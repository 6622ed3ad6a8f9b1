#!/usr/bin/env bash
# TRL 1.16.0, transformers 5.24.0, torch 2.15.0, Linux without a GPU, 2026-11-29.
# A configuration is made with all its defaults, where no GPU is.
# One would guess: as with the TrainingArguments of transformers, which it extends, the processor is used.
# Seen: ValueError, "Your setup doesn't support bf16/gpu": TRL asks for bfloat16 by itself. With use_cpu = True it does not
#   complain, and trains in bfloat16 on the processor; to train in float32 there bf16 = False has to be said, too.
# Ends with 1 if that changes. Needs python3, the package index, 6 GB of disk, and no GPU.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'trl==1.16.0' 'transformers==5.24.0' 'torch==2.15.0'
cat > "$work/try.py" <<'P'
"""Make both configurations."""
import sys

from transformers import TrainingArguments
from trl import SFTConfig

print("transformers:", TrainingArguments("x").device)
try:
    SFTConfig("x")
    said = "none"
except ValueError as error:
    said = str(error)
bf16 = SFTConfig("x", use_cpu=True).bf16
print("TRL:", said)
print("TRL, use_cpu:", "bf16" if bf16 else "float32")
sys.exit(not ("bf16/gpu" in said and bf16))
P
cd "$work" && "$work/venv/bin/python" try.py
