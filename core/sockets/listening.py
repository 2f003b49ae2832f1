"""What a client that only watches may say: answers to pings, pings of its own, pause, resume, close."""

from core.errors import Invalid
from core.sockets import handshake
from core.sockets.handshake import Pongs
from core.sockets.protocol import Socket, now
from core.sockets.send_buffer import Outbox


async def listen(socket: Socket, pongs: Pongs, outbox: Outbox) -> None:
    """Obey the client until it says `close`; a frame that is none is answered with an error."""
    while True:
        message = await socket.receive()
        pongs.heard()
        try:
            kind = handshake.frame_of(message).get("type")
        except Invalid as error:
            outbox.notify(socket.error_frame(error))
            continue
        if kind == "pong":
            pongs.answered()
        elif kind == "ping":
            outbox.notify({"type": "pong", "timestamp": now()})
        elif kind in ("pause", "resume"):
            (outbox.pause if kind == "pause" else outbox.resume)()
        elif kind == "close":
            return
