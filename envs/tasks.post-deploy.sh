#!/usr/bin/env bash
# Run by Snakemake (`--sdm conda`) from the repository, inside the new environment.
set -euo pipefail
pip install --no-deps --editable .
