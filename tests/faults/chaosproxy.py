"""TCP fault proxy: latency, black hole, resets, lost replies.

    chaosproxy.py LISTEN_PORT TARGET_PORT [CONTROL_PORT]    all sides on 127.0.0.1

Control: one line of JSON per connection to CONTROL_PORT (default LISTEN_PORT + 1), answered with the state.
Keys (sticky; null, and for all but `drop_reply_after` 0 or false too, clears):

    latency_ms, jitter_ms   added to each chunk, each way
    rate_bps                bytes a second, each way
    blackhole: true         accept and swallow, answer nothing
    refuse: true            close at once with RST
    cut_after_bytes: N      RST each connection after N bytes from the target (a reply lost half way)
    drop_reply_after: N     let N client chunks through, then swallow the target's answers (was it done or not?)
    cut_replies: {WORD: N}  RST instead of the reply to each of the next N requests that hold WORD, a sha1 for example
    kill: true              RST every open connection now (once)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import sys
from asyncio import StreamReader, StreamWriter
from typing import Any

HOST = "127.0.0.1"


def reset(writer: StreamWriter) -> None:
    """Close with RST instead of FIN."""
    connection = writer.transport.get_extra_info("socket")
    with contextlib.suppress(OSError):  # it may be closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Proxy:
    """The faults that are set, and the connections that are open."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.faults: dict[str, Any] = {}
        self.open: set[Connection] = set()
        self.accepted = 0
        self.killed = 0

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Take a client's connection to the target."""
        self.accepted += 1
        if self.faults.get("refuse"):
            return reset(writer)
        try:
            target_reader, target_writer = await asyncio.open_connection(HOST, self.target_port)
        except OSError:
            return reset(writer)
        connection = Connection(self.faults, writer, target_writer)
        self.open.add(connection)
        try:
            await asyncio.gather(connection.pump_requests(reader), connection.pump_replies(target_reader))
        finally:
            self.open.discard(connection)

    async def control(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Answer one line of the control port."""
        try:
            self.change(json.loads(await reader.readline() or b"{}"))
            state = {"state": self.faults, "open": len(self.open), "accepted": self.accepted, "killed": self.killed}
        except ValueError as error:
            state = {"error": str(error)}
        writer.write((json.dumps(state) + "\n").encode())
        await writer.drain()
        writer.close()

    def change(self, message: dict[str, Any]) -> None:
        """Set and clear faults."""
        if message.pop("kill", None):
            for connection in list(self.open):
                connection.reset()
                self.killed += 1
        for name, value in message.items():
            if value is None or (not value and name != "drop_reply_after"):
                self.faults.pop(name, None)
            else:
                self.faults[name] = value


class Connection:
    """One client's way to the target and back."""

    def __init__(self, faults: dict[str, Any], client: StreamWriter, target: StreamWriter) -> None:
        self.faults = faults
        self.client = client
        self.target = target
        self.requests = 0
        self.reply_bytes = 0
        self.cut_next = False

    def reset(self) -> None:
        """RST, to both sides."""
        reset(self.client)
        reset(self.target)

    async def pump_requests(self, reader: StreamReader) -> None:
        """From the client to the target, until one of them ends."""
        with contextlib.suppress(OSError), contextlib.closing(self.target):
            while chunk := await self.arrived(reader):
                if not self.faults.get("blackhole"):
                    self.requests += 1
                    self.cut_next = self.is_to_be_cut(chunk)
                    self.target.write(chunk)
                    await self.target.drain()

    async def pump_replies(self, reader: StreamReader) -> None:
        """From the target to the client, until one of them ends or the reply is cut."""
        with contextlib.suppress(OSError), contextlib.closing(self.client):
            while chunk := await self.arrived(reader):
                if self.faults.get("blackhole") or self.dropped():
                    continue
                if self.cut_next:
                    self.reset()
                    return
                room = self.room()
                self.client.write(chunk[:room])
                await self.client.drain()
                if room is not None and len(chunk) >= room:
                    self.reset()
                    return
                self.reply_bytes += len(chunk)

    async def arrived(self, reader: StreamReader) -> bytes:
        """The next chunk, late if it shall be; empty at the end."""
        chunk = await reader.read(65536)
        seconds = (self.faults.get("latency_ms", 0) + random.uniform(0, self.faults.get("jitter_ms", 0))) / 1000
        if rate := self.faults.get("rate_bps"):
            seconds += len(chunk) / rate
        if chunk and seconds:
            await asyncio.sleep(seconds)
        return chunk

    def dropped(self) -> bool:
        """Whether the client shall not see the target's answer."""
        allowed = self.faults.get("drop_reply_after")
        return allowed is not None and self.requests > allowed

    def is_to_be_cut(self, request: bytes) -> bool:
        """Whether the reply to this request shall not arrive; each that does not is counted off."""
        left = self.faults.get("cut_replies", {})
        for word, times in left.items():
            if times > 0 and word.encode() in request:
                left[word] = times - 1
                return True
        return False

    def room(self) -> int | None:
        """How many bytes of replies still fit before the cut; `None` for all."""
        limit = self.faults.get("cut_after_bytes")
        return None if limit is None else max(limit - self.reply_bytes, 0)


async def main(listen_port: int, target_port: int, control_port: int) -> None:
    """Serve until killed."""
    proxy = Proxy(target_port)
    listener = await asyncio.start_server(proxy.serve, HOST, listen_port)
    control = await asyncio.start_server(proxy.control, HOST, control_port)
    await asyncio.gather(listener.serve_forever(), control.serve_forever())


if __name__ == "__main__":
    listen, target, *more = map(int, sys.argv[1:])
    asyncio.run(main(listen, target, more[0] if more else listen + 1))
