"""A subscriber that follows docs/protocol.md: Python's websockets.

    subscriber.py URL CHANNEL

It says each message by a line, and {"gap": reset} for a reset. It comes back when the
line breaks, from the position that it has come to, and ends when it is killed.
"""

import asyncio
import json
import random
import sys

import websockets

url, channel = sys.argv[1:]


async def read(position):
    async with websockets.connect(url, subprotocols=["duplex.v1.json"], max_size=1 << 20) as ws:
        command = {"id": 1, "command": "subscribe", "channel": channel, "history": 1000}
        if position:
            command["since"] = position
        await ws.send(json.dumps(command))
        try:
            async for text in ws:
                for line in text.split("\n"):
                    thing = json.loads(line)
                    if "error" in thing:
                        sys.exit(line)
                    if "result" in thing:
                        position = thing["result"]["position"]
                    elif "reset" in thing:
                        position = thing["reset"]["position"]
                        print(json.dumps({"gap": thing["reset"]}), flush=True)
                    elif "channel" in thing and "position" in thing:
                        position = thing["position"]
                        print(line, flush=True)
        except websockets.ConnectionClosed:
            pass
    return position


async def main():
    position, wait = None, 0.1
    while True:
        try:
            position = await read(position)
            wait = 0.1
        except OSError:
            wait = min(2 * wait, 5)
        await asyncio.sleep(random.uniform(0, wait))


asyncio.run(main())
