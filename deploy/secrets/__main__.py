"""Print or write the secrets for one of two targets.

python -m deploy.secrets kubernetes | kubectl apply -f -    for a cluster of one's own; else components/external-secrets
python -m deploy.secrets compose                            into .local/compose; what is there stays, the rest is added
"""

from __future__ import annotations

import json
import sys

from deploy.secrets import files, kubernetes, made


def main(target: str = "") -> None:
    """Do it for the target that is named."""
    if target == "kubernetes":
        print(json.dumps(kubernetes(made()), indent=1))
    elif target == "compose":
        files.write(files.DIRECTORY, made("postgres", "rabbitmq"))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:2])
