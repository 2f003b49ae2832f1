"""A mail server on loopback that speaks as much of SMTP as a client needs."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class MailServer:
    """What mails came; while `refuses`, each is refused for the time being."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []
        self.refuses = False
        mail_server = self

        class Handler(socketserver.StreamRequestHandler):
            def say(self, line: str) -> None:
                """One line of an answer."""
                self.wfile.write(line.encode() + b"\r\n")

            def handle(self) -> None:
                self.say("220 ready")
                for line in self.rfile:
                    match line[:4].upper():
                        case b"DATA":
                            self.say("354 go on")
                            lines = list(iter(self.rfile.readline, b".\r\n"))
                            mail_server.mails.append(b"".join(lines))
                            self.say("250 accepted")
                        case b"RCPT" if mail_server.refuses:
                            self.say("451 ops@example.com: later")
                        case b"QUIT":
                            self.say("221 bye")
                            return
                        case _:
                            self.say("250 ok")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]


@contextmanager
def running_mail_server() -> Iterator[MailServer]:
    """A mail server for the length of the block."""
    running = MailServer()
    thread = threading.Thread(
        target=running.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield running
    finally:
        running.server.shutdown()
        running.server.server_close()
        thread.join()
