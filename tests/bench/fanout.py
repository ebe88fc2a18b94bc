"""The straightforward way to ask many daemons: asyncio and pyzmq, one DEALER for each.

Reads endpoints from standard input, one a line; prints milliseconds, the first figure for connecting
and asking once, the second for asking again (median).
"""
import asyncio
import json
import statistics
import sys
import time

import zmq
import zmq.asyncio

ROUNDS = 11


async def ask(socket, number):
    await socket.send(json.dumps({"id": str(number), "command": "status", "properties": {}}).encode())
    reply = json.loads((await socket.recv_multipart())[-1])
    assert reply["id"] == str(number), reply


async def main():
    endpoints = [line.strip() for line in sys.stdin if line.strip()]
    context = zmq.asyncio.Context()
    context.set(zmq.MAX_SOCKETS, len(endpoints) + 100)
    begin = time.perf_counter()
    sockets = []
    for endpoint in endpoints:
        socket = context.socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(endpoint)
        sockets.append(socket)
    times = []
    for _ in range(ROUNDS):
        await asyncio.gather(*(ask(socket, number) for number, socket in enumerate(sockets)))
        now = time.perf_counter()
        times.append((now - begin) * 1e3)
        begin = now
    print(times[0], statistics.median(times[1:]))
    for socket in sockets:
        socket.close()
    context.term()


asyncio.run(main())
