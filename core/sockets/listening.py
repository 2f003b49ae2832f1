"""The receiving half of a socket whose client only watches: pings, pause, resume, close."""

from core.errors import Invalid
from core.sockets import handshake
from core.sockets.handshake import Pongs
from core.sockets.protocol import Socket, now
from core.sockets.send_buffer import Outbox


async def listen(socket: Socket, pongs: Pongs, outbox: Outbox) -> None:
    """Obey the client's frames until it sends `close`; answer what is no frame with an error."""
    while True:
        message = await socket.receive()
        pongs.heard()
        try:
            kind = handshake.frame_of(message).get("type")
        except Invalid as error:
            outbox.notify(socket.error_frame(error))
            continue
        match kind:
            case "pong":
                pongs.answered()
            case "ping":
                outbox.notify({"type": "pong", "timestamp": now()})
            case "pause":
                outbox.pause()
            case "resume":
                outbox.resume()
            case "close":
                return
