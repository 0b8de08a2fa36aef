#!/bin/sh
# Starts Redis, of which the arguments are the command, with users.acl: nobody but the user starling, by a password
# from the environment. Beside it stands only its hash, in memory.
set -eu
try_out=try-out

if [ "${STARLING_ALLOW_OPEN:-}" != true ]; then
  missing=
  [ "$REDIS_PASSWORD" != "$try_out" ] || missing="REDIS_PASSWORD "
  [ -n "${GRAFANA_PASSWORD_SET:-}" ] || missing="${missing}GRAFANA_PASSWORD "
  if [ -n "$missing" ]; then
    echo "not started: no value in .env for ${missing}(openssl rand -hex 32 makes one);" \
      "to try it out on this machine set STARLING_ALLOW_OPEN=true instead" >&2
    exit 1
  fi
fi
rest=$(printf %s "$REDIS_PASSWORD" | tr -d '0-9A-Za-z._~-' | wc -c)
if [ "$rest" -gt 0 ]; then
  echo "not started: REDIS_PASSWORD has $rest characters other than letters, digits and . _ ~ -, which the URL" \
    "of the nodes would need escaped: take openssl rand -hex 32" >&2
  exit 1
fi

users=${USERS_FILE:-/run/starling/users.acl}
hash=$(printf %s "$REDIS_PASSWORD" | sha256sum | cut -d ' ' -f 1)
umask 077
sed "s/#SHA256/#$hash/" "$(dirname "$0")/users.acl" >"$users"
unset REDIS_PASSWORD
exec "$@" --aclfile "$users"
