"""A server for load: Python's websockets.

    echo.py echo    sends each message back
    echo.py room    sends each message to all connections
    echo.py deflate '{...}'    echo with the settings of ServerPerMessageDeflateFactory

It listens on a free port of 127.0.0.1, says {"port": n}, and {"busy": true} when a
thousand messages have come. It ends when it is killed.
"""

import asyncio
import json
import sys

import websockets
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

count = 0
room = set()


def say(**what):
    print(json.dumps(what), flush=True)


async def handle(ws):
    global count
    room.add(ws)
    try:
        async for message in ws:
            count += 1
            if count == 1000:
                say(busy=True)
            if sys.argv[1] == "room":
                websockets.broadcast(room, message)
            else:
                await ws.send(message)
    except websockets.ConnectionClosed:
        pass
    finally:
        room.discard(ws)


async def main():
    extensions = []
    if sys.argv[1] == "deflate":
        extensions = [ServerPerMessageDeflateFactory(**json.loads(sys.argv[2]))]
    async with websockets.serve(
        handle, "127.0.0.1", 0, max_size=4 << 20, compression=None, extensions=extensions
    ) as server:
        say(port=server.sockets[0].getsockname()[1])
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
