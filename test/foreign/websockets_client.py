"""Debian's python3-websockets: plays the calls of standard input over one connection, writes their answers."""

import asyncio
import json
import sys

import websockets


def answer_of(response):
    if "error" in response:
        return {"code": response["error"]["code"], "data": response["error"].get("data")}
    return response["result"]


async def main():
    wanted = json.load(sys.stdin)
    requests = [{"jsonrpc": "2.0", "id": index, **call} for index, call in enumerate(wanted["calls"])]
    async with websockets.connect(wanted["url"]) as connection:
        if wanted["batch"]:
            await connection.send(json.dumps(requests))
            responses = json.loads(await connection.recv())
        else:
            responses = []
            for request in requests:
                await connection.send(json.dumps(request))
                responses.append(json.loads(await connection.recv()))
    by_id = {response["id"]: response for response in responses}
    json.dump([answer_of(by_id[request["id"]]) for request in requests], sys.stdout)


asyncio.run(main())
