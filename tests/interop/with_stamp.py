"""STAMP with packets of scapy, and both directions in the eyes of Wireshark."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.interop.client_case import InteropCase
from tests.support.needs import locate, need
from tests.support.polling import DEADLINE

SCAPY = "/usr/lib/python3/dist-packages/scapy/contrib/stamp.py"

#: Debian's, which has its packages.
PYTHON = "/usr/bin/python3"

INI = """
[stamp]
listen = udp:0:interface=127.0.0.1
"""

#: Sends a packet that scapy makes, prints what scapy reads of the answer, and writes both, with
#: one without TLVs and one of TWAMP Light, for Wireshark.
SCRIPT = """
import json, socket, sys
from scapy.all import IP, UDP, raw, wrpcap
from scapy.contrib import stamp
port, file = int(sys.argv[1]), sys.argv[2]
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(float(sys.argv[3]))
client.connect(("127.0.0.1", port))
error = stamp.ErrorEstimate(S=1, scale=4, multiplier=5)
tlvs = [stamp.STAMPTestTLV(flags=0x80, type=1, len=8, value=b"padding!")]
kind = stamp.STAMPSessionSenderTestUnauthenticated
asked = kind(seq=5, err_estimate=error, ssid=7, tlv_objects=tlvs)
plain = raw(kind(seq=6, err_estimate=error, ssid=7))
pcap = []
for question in (raw(asked), plain, plain[:41]):
    client.send(question)
    answer = client.recv(2000)
    pcap.append(IP() / UDP(sport=4711, dport=862) / question)
    pcap.append(IP() / UDP(sport=862, dport=4711) / answer)
    if question == raw(asked):
        around = UDP(len=8 + len(answer))
        told = stamp.STAMPSessionReflectorTestUnauthenticated(answer, _parent=around)
wrpcap(file, pcap)
print(json.dumps({
    "seq": told.seq, "ssid": told.ssid, "ttl": told.ttl_sender, "asked": told.seq_sender,
    "scale": told.err_estimate_sender.scale, "stays": float(told.ts - told.ts_rx),
    "tlvs": [[one.flags.value, one.type, one.len] for one in told.tlv_objects],
}))
"""


class StampTests(InteropCase):
    """One daemon, a sender that others wrote, and a dissector."""

    def run_tool(self, *command: str) -> str:
        """Run a command that succeeds, and return what it wrote."""
        ended: Any = subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE, check=False
        )
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return str(ended.stdout)

    def test_scapy(self) -> None:
        """
        scapy's packet, with a TLV, is answered by one that scapy takes apart; Wireshark finds
        nothing malformed in it, nor in those without TLVs and of TWAMP Light.
        """
        need(SCAPY, "tshark")
        with self.daemon(INI) as daemon:
            port = daemon.address("stamp", "udp")[1]
            file = str(self.directory / "stamp.pcap")
            output = self.run_tool(PYTHON, "-c", SCRIPT, str(port), file, str(DEADLINE))
        told = json.loads(output)
        found = {name: told[name] for name in ("seq", "ssid", "ttl", "asked", "scale", "tlvs")}
        expected = {"seq": 0, "ssid": 7, "ttl": 64, "asked": 5, "scale": 4, "tlvs": [[0, 1, 8]]}
        self.assertEqual(found, expected)
        self.assertGreater(told["stays"], 0)
        read = [locate("tshark"), "-r", file, "-d", "udp.port==862,twamp.test"]
        self.assertEqual(self.run_tool(*read, "-Y", "_ws.malformed"), "")
        protocols = self.run_tool(*read, "-T", "fields", "-e", "_ws.col.Protocol").split()
        self.assertEqual(protocols, ["TWAMP-Test"] * 6)
        answered = self.run_tool(
            *read, "-Y", "udp.srcport == 862", "-T", "fields", "-e", "twamp.test.sender_seq_number"
        )
        self.assertEqual(answered.split(), ["5", "6", "6"])

    def test_command(self) -> None:
        """C{socketd ping --stamp} measures against it; nothing is lost on loopback."""
        with self.daemon(INI) as daemon:
            port = daemon.address("stamp", "udp")[1]
            words = ("--stamp", f"127.0.0.1:{port}", "-c", "20", "-i", "0.01", "--json")
            found = json.loads(self.output_of("ping", *words, "--dscp", "46"))
        self.assertEqual((found["sent"], found["received"], found["hops"]), (20, 20, 0))
        self.assertEqual(found["lost"], {"forward": 0, "backward": 0, "unknown": 0})
        for way in ("round_trip_ms", "forward_ms", "backward_ms"):
            self.assertGreater(found[way]["max"], 0)
