"""What a client that only watches may say: answers to pings, pings of its own, pause, resume, close."""

from core.api.sockets import Socket, now
from core.errors import Invalid
from workloads.streams import admission
from workloads.streams.admission import Pongs
from workloads.streams.send_buffer import Outbox


async def listen(socket: Socket, pongs: Pongs, outbox: Outbox) -> None:
    """Obey the client until it says `close`; a frame that is none is answered with an error."""
    while True:
        message = await socket.receive()
        pongs.heard()
        try:
            kind = admission.frame_of(message).get("type")
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
