"""What the peers that answer by rule are asked, and answer: lines of 64 bytes."""

from __future__ import annotations

QUESTION = "AT+CSQ: how good is the signal of the modem in the hall today?\r\n"
ANSWER = "+CSQ: 24,99: it is as good as it was yesterday and before then\r\n"
