"""A WebSocket peer that is not ours: Python's websockets, as client or server.

    peer.py connect URL [SUBPROTOCOL...]      environment: PEER_CA, a PEM file
    peer.py serve [SUBPROTOCOL...]            environment: PEER_CERT, PEER_KEY

It says what happens by lines of JSON on standard output. First comes {"port": n}
from a server, then {"open": subprotocol}. Then it obeys lines of standard input,
one after the other, and answers each with one line:

    {"do": "send", "text": s}            or "base64" for binary; {}
    {"do": "send", "parts": [s, ...]}    one message, a frame for each part
    {"do": "receive"}                    {"text": s} or {"base64": s}
    {"do": "ping"}                       waits for the pong; {}
    {"do": "close", "code": n, "reason": s}
    {"do": "closed"}                     waits; {"code": n, "reason": s} as received

A failure is {"error": s}. It ends at the end of standard input.
"""

import asyncio
import base64
import json
import os
import ssl
import sys

import websockets

LIMIT = 4 << 20


def say(**what):
    print(json.dumps(what), flush=True)


async def obey(ws, command):
    do = command["do"]
    if do == "send":
        if "parts" in command:
            await ws.send(command["parts"])
        elif "base64" in command:
            await ws.send(base64.b64decode(command["base64"]))
        else:
            await ws.send(command["text"])
    elif do == "receive":
        message = await ws.recv()
        if isinstance(message, str):
            return {"text": message}
        return {"base64": base64.b64encode(message).decode()}
    elif do == "ping":
        await (await ws.ping())
    elif do == "close":
        await ws.close(command["code"], command["reason"])
    elif do == "closed":
        await ws.wait_closed()
        return {"code": ws.close_code, "reason": ws.close_reason}
    else:
        raise ValueError("unknown: " + do)
    return {}


async def converse(ws):
    say(open=ws.subprotocol or "")
    loop = asyncio.get_running_loop()
    while True:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        if not line:
            return
        try:
            say(**await obey(ws, json.loads(line)))
        except Exception as error:
            say(error=f"{type(error).__name__}: {error}")


async def connect(url, subprotocols):
    tls = ssl.create_default_context(cafile=os.environ["PEER_CA"]) if url.startswith("wss:") else None
    async with websockets.connect(url, subprotocols=subprotocols or None, ssl=tls, max_size=LIMIT) as ws:
        await converse(ws)


async def serve(subprotocols):
    tls = None
    if "PEER_CERT" in os.environ:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(os.environ["PEER_CERT"], os.environ["PEER_KEY"])
    over = asyncio.get_running_loop().create_future()

    async def handle(ws):
        await converse(ws)
        over.set_result(None)

    async with websockets.serve(handle, "127.0.0.1", 0, subprotocols=subprotocols or None, ssl=tls, max_size=LIMIT) as server:
        say(port=server.sockets[0].getsockname()[1])
        await over


async def main():
    try:
        if sys.argv[1] == "connect":
            await connect(sys.argv[2], sys.argv[3:])
        else:
            await serve(sys.argv[2:])
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}")


asyncio.run(main())
