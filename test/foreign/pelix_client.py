"""Debian's python3-jsonrpclib-pelix: plays the calls of standard input, writes what its user sees of their answers."""

import json
import sys

import jsonrpclib
from jsonrpclib.history import History


def answer_of(get):
    try:
        return get()
    except jsonrpclib.ProtocolError as error:
        # Of an error whose code is in JSON-RPC's own range the exception holds code and message; all of it is in the history.
        code, _message = error.args[0]
        return {"code": code, "data": json.loads(history.response)["error"]["data"]}


wanted = json.load(sys.stdin)
history = History()
server = jsonrpclib.ServerProxy(wanted["url"], history=history)
calls = [(call["method"], call.get("params", {})) for call in wanted["calls"]]
if wanted["batch"]:
    multicall = jsonrpclib.MultiCall(server)
    for method, params in calls:
        getattr(multicall, method)(**params)
    answers = list(multicall())
else:
    answers = [answer_of(lambda: getattr(server, method)(**params)) for method, params in calls]
json.dump(answers, sys.stdout)
