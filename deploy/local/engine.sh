#!/bin/sh
# Tell whether a Docker engine answers and knows Compose; if not, say loudly what is therefore not checked.
docker version >/dev/null 2>&1 && docker compose version >/dev/null 2>&1 && exit 0
cat >&2 <<'SAY'
======================================================================================================
NOT CHECKED HERE: no Docker engine answers (see 'docker version'; DOCKER_HOST names another one), so
no image was built, docker-compose.yml was not started, and no service was restarted under load.
======================================================================================================
SAY
exit 1
