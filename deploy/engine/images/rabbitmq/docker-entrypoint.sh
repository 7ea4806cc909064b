#!/bin/bash
# The part of the official image's entry point that Compose and tests use: the first user, and the log on stdout.
set -e
if [ "$1" != rabbitmq-server ]; then exec "$@"; fi
mkdir -p /etc/rabbitmq/conf.d
{
    if [ -n "$RABBITMQ_DEFAULT_USER" ]; then echo "default_user = $RABBITMQ_DEFAULT_USER"; fi
    if [ -n "$RABBITMQ_DEFAULT_PASS" ]; then echo "default_pass = $RABBITMQ_DEFAULT_PASS"; fi
    printf '%s\n' "loopback_users = none" "log.console = true" "listeners.tcp.default = 5672"
} >/etc/rabbitmq/conf.d/10-env.conf
chown -R rabbitmq:rabbitmq /var/lib/rabbitmq /etc/rabbitmq /var/log/rabbitmq
unset RABBITMQ_DEFAULT_USER RABBITMQ_DEFAULT_PASS
export RABBITMQ_LOGS=-
exec gosu rabbitmq /usr/lib/rabbitmq/bin/rabbitmq-server
