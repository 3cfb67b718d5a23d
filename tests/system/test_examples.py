"""The configurations of C{etc/examples} as a daemon serves them."""

from __future__ import annotations

import smtplib
import socket
from email.message import EmailMessage

from tests.support.examples import EXAMPLES, example
from tests.support.polling import DEADLINE
from tests.support.processes import SystemCase
from tests.support.sockets import read_exactly, read_to_end

#: A request and its response; of Modbus TCP with transaction 7 and unit 1, and with 8 and 255.
CONVERSATIONS = {
    "modbus": [
        (b"\0\7\0\0\0\6\1\3\0\0\0\1", b"\0\7\0\0\0\5\1\3\2\0\x2a"),
        (b"\0\x08\0\0\0\6\xff\3\0\0\0\2", b"\0\x08\0\0\0\7\xff\3\4\0\x2a\2\x9a"),
        (b"\0\7\0\0\0\6\1\3\0\1\0\1", b"\0\7\0\0\0\5\1\3\2\2\x9a"),
        (b"\0\7\0\0\0\6\1\3\0\x64\0\1", b"\0\7\0\0\0\5\1\3\2\0\1"),
        # Written; and what is not there, registers and functions.
        (b"\0\7\0\0\0\6\1\6\0\0\x0a\x0d", b"\0\7\0\0\0\6\1\6\0\0\x0a\x0d"),
        (b"\0\7\0\0\0\6\1\3\0\2\0\1", b"\0\7\0\0\0\3\1\x83\2"),
        (b"\0\7\0\0\0\6\1\1\0\0\0\1", b"\0\7\0\0\0\3\1\x81\1"),
        (b"\0\7\0\0\0\x09\1\x10\0\0\0\1\2\0\1", b"\0\7\0\0\0\3\1\x90\1"),
    ],
    "modem": [
        (b"AT\r", b"\r\nOK\r\n"),
        (b"ate0\r\n", b"\r\nOK\r\n"),
        (b"AT+CSQ\r\n", b"\r\n+CSQ: 24,99\r\n\r\nOK\r\n"),
        (b"\rAT+CPIN?\r", b"\r\n+CPIN: READY\r\n\r\nOK\r\n"),
        (b"ATD123;\r", b"\r\nNO CARRIER\r\n"),
        (b"AT+WHAT\r", b"\r\nERROR\r\n"),
    ],
    "redis": [
        (b"PING\r\n", b"+PONG\r\n"),
        (b"*1\r\n$4\r\nping\r\n", b"+PONG\r\n"),
        (b"*2\r\n$4\r\nECHO\r\n$3\r\na\nb\r\n", b"$3\r\na\nb\r\n"),
        (b"*2\r\n$7\r\nCOMMAND\r\n$4\r\nDOCS\r\n", b"*0\r\n"),
        (b"GET a\r\n", b"-ERR unknown command\r\n"),
    ],
}


class ExampleTests(SystemCase):
    """Each example answers as the program that it stands for."""

    def test_check(self) -> None:
        """C{socketd check} has nothing to say of any, and there is a test for each."""
        self.assertEqual(EXAMPLES.keys(), {"smtp", *CONVERSATIONS})
        for path in EXAMPLES.values():
            ended = self.run_check(path)
            self.assertEqual((ended.status, ended.errors), (0, ""), path)

    def test_conversations(self) -> None:
        """Each request has its response, in however many pieces it comes."""
        for name, conversation in CONVERSATIONS.items():
            with self.daemon(example(name)) as daemon, daemon.connect(name) as client:
                for request, response in conversation:
                    client.sendall(request)
                    self.assertEqual(read_exactly(client, len(response)), response, request)
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(read_to_end(client), b"", name)

    def test_pieces(self) -> None:
        """A request of Modbus TCP may come in pieces, and two at once."""
        (first, answer), (second, other) = CONVERSATIONS["modbus"][:2]
        with self.daemon(example("modbus")) as daemon, daemon.connect("modbus") as client:
            client.sendall(first + second[:5])
            self.assertEqual(read_exactly(client, len(answer)), answer)
            client.sendall(second[5:])
            self.assertEqual(read_exactly(client, len(other)), other)

    def test_mail(self) -> None:
        """smtplib gets a mail through, and is told of a mailbox that is not there."""
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "a@example.org", "b@mail.example", "hello"
        mail.set_content("one\n.\n\nEHLO is a word\n" + "long " * 400)
        with self.daemon(example("smtp")) as daemon:
            host, port = daemon.address("smtp")
            with smtplib.SMTP(host, port, timeout=DEADLINE) as client:
                self.assertEqual(client.send_message(mail), {})
                del mail["To"]
                mail["To"] = "b@mail.example, nobody@mail.example"
                refused = client.send_message(mail)
                self.assertEqual(refused["nobody@mail.example"][0], 550)
                self.assertRaises(smtplib.SMTPNotSupportedError, client.starttls)
                self.assertEqual(client.quit()[0], 221)
