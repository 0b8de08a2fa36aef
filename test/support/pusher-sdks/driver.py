"""Calls Pusher's SDK for Python: a call as JSON on each line of stdin, its outcome on a line of stdout."""

import json
import os
import sys

import pusher


def client(call):
    return pusher.Pusher(
        app_id=call.get("appId", os.environ["PUSHER_APP_ID"]),
        key=os.environ["PUSHER_KEY"],
        secret=call.get("secret", os.environ["PUSHER_SECRET"]),
        host=os.environ["PUSHER_HOST"],
        port=int(os.environ["PUSHER_PORT"]),
        ssl=False,
        timeout=60,
        encryption_master_key_base64=os.environ["PUSHER_MASTER_KEY"],
    )


def names(call):
    return call["info"].split(",") if "info" in call else []


CALLS = {
    "trigger": lambda sdk, call: sdk.trigger(
        call["channels"], call["event"], call["data"], call.get("socketId")
    ),
    "batch": lambda sdk, call: sdk.trigger_batch(call["events"]),
    "channels": lambda sdk, call: sdk.channels_info(call.get("prefix"), names(call)),
    "channel": lambda sdk, call: sdk.channel_info(call["channel"], names(call)),
    "users": lambda sdk, call: sdk.users_info(call["channel"]),
    "sendToUser": lambda sdk, call: sdk.send_to_user(call["user"], call["event"], call["data"]),
    "terminate": lambda sdk, call: sdk.terminate_user_connections(call["user"]),
    "authorize": lambda sdk, call: sdk.authenticate(
        call["channel"], call["socketId"], call.get("member")
    ),
    "authenticate": lambda sdk, call: sdk.authenticate_user(call["socketId"], call["user"]),
}

for line in sys.stdin:
    asked = json.loads(line)
    try:
        outcome = {"value": CALLS[asked["call"]](client(asked), asked)}
    except Exception as error:
        outcome = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(outcome, default=bytes.decode), flush=True)
