#!/bin/sh
# The reference runner under the environment of the kit. PROGRAM is the built bin/supervisor.js, NODE the node that runs it.
# The kit has registered the runner already, and its supervisor has no address: what the runner needs stands in Redis.
set -eu
SUPERVISOR_REDIS_URL=$RUNNER_REDIS_URL
SUPERVISOR_REDIS_PREFIX=$RUNNER_PREFIX
# Its key lies in runners/NAME.key there.
SUPERVISOR_DATA_DIR=$RUNNER_DIRECTORY
export SUPERVISOR_REDIS_URL SUPERVISOR_REDIS_PREFIX SUPERVISOR_DATA_DIR
exec "${NODE:-node}" "${PROGRAM:-dist/bin/supervisor.js}" runner start "$RUNNER_NAME" --exec "bash -s" \
  --group "$RUNNER_GROUPS" --slots "$RUNNER_SLOTS" --allow "$RUNNER_ALLOW_FILE" --grace "$RUNNER_GRACE_SECONDS" \
  --supervisor "$RUNNER_SUPERVISOR" --key "$RUNNER_KEY_FILE" --to http://127.0.0.1:4
