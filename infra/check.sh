#!/usr/bin/env bash
# Checks the Bicep files and the workflows with the programs in the directory $1; `make infra` prepares it.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1

# checkov exits with 0 on a file that it cannot parse, so its report has to say that there is none.
report=$("$bin/checkov" --framework bicep --skip-download --directory infra --compact --quiet --output json) || {
    "$bin/checkov" --framework bicep --skip-download --directory infra --compact --quiet || true
    exit 1
}
"$bin/python" - "$report" <<'PYTHON'
import json
import sys

summary = json.loads(sys.argv[1])["summary"]
print(f"checkov: {summary['passed']} passed, {summary['failed']} failed, {summary['skipped']} skipped with a reason, "
      f"{summary['parsing_errors']} files not understood")
sys.exit(summary["failed"] or summary["parsing_errors"] or not summary["passed"])
PYTHON
"$bin/python" infra/check_models.py
"$bin/actionlint" -shellcheck= -pyflakes=
echo "actionlint: the workflows are well-formed"
