"""The receiving half of a socket whose client only watches: pings, pause, resume, close."""

from core.errors import Invalid
from core.sockets import handshake
from core.sockets.handshake import KeepAlive
from core.sockets.protocol import Socket, now
from core.sockets.send_buffer import SendBuffer


async def listen(socket: Socket, keep_alive: KeepAlive, send_buffer: SendBuffer) -> None:
    """Obey the client's frames until it sends `close`; answer what is no frame with an error."""
    while True:
        message = await socket.receive()
        keep_alive.note_frame()
        try:
            kind = handshake.parse_frame(message).get("type")
        except Invalid as error:
            send_buffer.notify(socket.error_frame(error))
            continue
        match kind:
            case "pong":
                keep_alive.note_pong()
            case "ping":
                send_buffer.notify({"type": "pong", "timestamp": now()})
            case "pause":
                send_buffer.pause()
            case "resume":
                send_buffer.resume()
            case "close":
                return
