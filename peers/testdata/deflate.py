"""Python's websockets with compression, as client or server.

    deflate.py connect URL    tries every window from 9 to 15 bits with and without
                              takeover, 100 messages each that must come back, and
                              prints what was agreed on, a line for each
    deflate.py serve          prints its port and sends every message back, until
                              the end of standard input
"""

import asyncio
import random
import sys

import websockets
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

LIMIT = 4 << 20


def texts():
    r = random.Random(1)
    for i in range(100):
        yield "".join('{"id":%d,"name":"grüße%d"}' % (r.randrange(1000), r.randrange(40)) for _ in range(r.randrange(90)))
    yield "".join(chr(r.randrange(32, 0xD800)) for _ in range(20_000))


async def connect(url):
    for bits in range(9, 16):
        for forget in (False, True):
            factory = ClientPerMessageDeflateFactory(
                server_no_context_takeover=forget,
                client_no_context_takeover=forget,
                server_max_window_bits=bits,
                client_max_window_bits=bits,
            )
            async with websockets.connect(url, compression=None, extensions=[factory], max_size=LIMIT) as ws:
                for text in texts():
                    await ws.send(text)
                    if await ws.recv() != text:
                        raise ValueError("another message came back")
                # One message in three frames.
                await ws.send(["one " * 100, "two " * 100, "three"])
                if await ws.recv() != "one " * 100 + "two " * 100 + "three":
                    raise ValueError("another message came back")
            print("; ".join(ws.response_headers.get_all("Sec-WebSocket-Extensions")), flush=True)


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def serve():
    factory = ServerPerMessageDeflateFactory()
    async with websockets.serve(echo, "127.0.0.1", 0, compression=None, extensions=[factory], max_size=LIMIT) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(connect(sys.argv[2]) if sys.argv[1] == "connect" else serve())
