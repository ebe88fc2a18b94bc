# A ZeroMQ peer that does what it is told: one JSON list per line on stdin, one JSON value per line on
# stdout. Frames are texts; long uniform ones are written [length, character].
import json
import sys

import zmq

context = zmq.Context()
sockets = {}


def decode(frame):
    if isinstance(frame, list):
        return frame[1].encode() * frame[0]
    return frame.encode("latin-1")


def encode(frame):
    if len(frame) > 1000 and frame == frame[:1] * len(frame):
        return [len(frame), frame[:1].decode("latin-1")]
    return frame.decode("latin-1")


def open_socket(name, kind, options):
    socket = context.socket(getattr(zmq, kind))
    socket.setsockopt(zmq.LINGER, 1000)
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    socket.setsockopt(zmq.RCVTIMEO, 15000)
    for key, value in options.items():
        socket.setsockopt(getattr(zmq, key), value.encode() if isinstance(value, str) else value)
    sockets[name] = socket


def do(verb, name, *rest):
    if verb == "open":
        return open_socket(name, *rest)
    socket = sockets[name]
    if verb == "bind":
        socket.bind(rest[0])
        return socket.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()
    if verb == "connect":
        socket.connect(rest[0])
        return None
    if verb == "send":
        socket.send_multipart([decode(frame) for frame in rest[0]])
        return None
    if verb == "recv":
        return [encode(frame) for frame in socket.recv_multipart()]
    if verb == "quiet":
        return socket.poll(rest[0]) == 0
    if verb == "echo":
        for _ in range(rest[0]):
            socket.send_multipart(socket.recv_multipart())
        return None
    if verb == "subscribe":
        return socket.setsockopt(zmq.SUBSCRIBE, rest[0].encode())
    if verb == "unsubscribe":
        return socket.setsockopt(zmq.UNSUBSCRIBE, rest[0].encode())
    if verb == "close":
        return sockets.pop(name).close()
    raise ValueError(verb)


for line in sys.stdin:
    try:
        answer = {"ok": do(*json.loads(line))}
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
context.destroy(linger=500)
