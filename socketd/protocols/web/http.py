"""C{http}: tells each request what it was, on Twisted's HTTP server."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from socketd.protocols.facts import connection_facts
from socketd.protocols.spec import ProtocolSpec
from socketd.protocols.web.answers import TEXT, Answer, json_text
from socketd.protocols.web.asked import Asked, as_text, describe
from socketd.protocols.web.channel import Channel
from socketd.protocols.web.options import HttpOptions, refusals
from socketd.protocols.web.paths import find_answer


class HttpChannel(Channel):
    """One connection of C{http}."""

    options: HttpOptions

    def answer_other(self, asked: Asked) -> Answer:
        options = self.options
        if options.response is not None:
            return Answer(body=options.response.body, media_type=options.response.media_type)
        answer = find_answer(asked, self._tell, options) or Answer(body=None)
        if answer.body is not None:
            return answer
        facts = self._tell()
        if asked.wants_text:
            return evolve(answer, body=as_text(asked, facts), media_type=TEXT)
        return evolve(answer, body=json_text(describe(asked, facts)))

    def _tell(self) -> dict[str, Any]:
        return connection_facts(self.transport, self.context, self.options.hostname)


declaration = ProtocolSpec(options=HttpOptions, stream=HttpChannel, refusals=refusals)
